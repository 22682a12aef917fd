"""Extending: the base's tokenizer with the whole words that a language or domain uses and the base cuts to pieces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import regex
from pydantic import Field

from langadapt.contracts import Context, TokenizerTrainer
from langadapt.errors import DataError, ModelError
from langadapt_tokenizers.additions import Word, add_entries, add_merges, add_pieces, next_id, whole
from langadapt_tokenizers.rebuild import like, plain, reads_both_ends, state_of
from langadapt_tokenizers.spelling import Signs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Extend(TokenizerTrainer):
    """Add a domain's frequent words as single tokens, keeping every old token, its id and its meaning.

    IndoBERTweet (Koto et al. 2021, arXiv:2109.04607) adds frequent words: ``frequency``.  By default words are taken by what they save:
    ``gain`` is occurrences × (pieces − 1), the tokens saved; ``fragments`` takes the most fragmented words first, among those frequent
    enough (fragment score of AVocaDo, Hong et al. 2021, arXiv:2110.13434).  Words are added inside the model, never as
    "added tokens" that would be cut out before normalisation: WordPiece gets entries, Unigram pieces with their corpus
    log-probability, BPE the merges that reach them.  Text in which no new token appears is segmented exactly as before.
    WordPiece and Unigram also hold words with letters that the base does not know, which lose most: each letter of an unknown
    stretch counts as a token then, and its loss as one more.  BPE would need the letters first, and leaves such words out.

    Ids of old tokens stay; where an added token stood behind the model's own pieces, it moves behind the new ones, as does one that
    stands for a whole word alone (``single_word``).
    """

    name: ClassVar[str] = "extend"
    version: ClassVar[str] = "3"

    budget: Annotated[int, Field(ge=1, le=500_000)] = 1000
    """Tokens to add at most (BPE's intermediate pieces count)."""
    by: Literal["gain", "frequency", "fragments"] = "gain"
    min_count: Annotated[int, Field(ge=2)] = 5
    """Occurrences from which a word may be added."""
    min_gain: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Stop where a word saves less than this share of the corpus's tokens."""
    letters_only: bool = True
    """Take words made of letters and marks alone: no numbers, names of users or punctuation."""

    def train(self, texts: Iterable[str], base: PreTrainedTokenizerFast | None, ctx: Context) -> PreTrainedTokenizerFast:
        """The extended tokenizer.

        Raises:
            ModelError: no base was given, it cannot be extended, or its normalizer drops the text's vowel signs.
            DataError: the corpus has no word worth adding, or none that the base can reach.
        """
        if base is None:
            raise ModelError("extend needs a base: name the stage's 'encoder'")
        state = state_of(base)
        if state["model"]["type"] not in ("WordPiece", "Unigram", "BPE"):
            raise ModelError(f"a {state['model']['type']} tokenizer cannot be extended", hint="WordPiece, Unigram and BPE can.")
        counts = _word_counts(base, texts, ctx)
        words, tokens = self._candidates(base, state["model"], counts)
        if not words:
            raise DataError(
                f"no word occurs {self.min_count} times and is cut into pieces: there is nothing to add",
                hint="Give more text, lower min_count, or keep the base's vocabulary.",
            )
        before = next_id(state)
        extended, added = self._extended(base, words, sum(counts.values()), ctx)
        saved = 100 * sum(word.count * (len(word.pieces) - 1) for word in added) / max(tokens, 1)
        ctx.log.info(
            f"{len(added):,} words, {next_id(state_of(extended)) - before:,} tokens added; the corpus takes {saved:.1f} % fewer tokens"
        )
        return extended

    def _extended(
        self, base: PreTrainedTokenizerFast, words: list[Word], total: int, ctx: Context
    ) -> tuple[PreTrainedTokenizerFast, list[Word]]:
        """The tokenizer and the words it has now; words that do not come out as one token are left out and said."""
        lost: dict[str, Word] = {}
        while True:
            state = state_of(base)
            kind = state["model"]["type"]
            left = [word for word in words if word.text not in lost]
            if not left:
                shown = ", ".join(f"'{text}'" for text in list(lost)[:3])
                raise DataError(f"the base's tokenizer can reach none of {len(lost)} words: {shown}", hint="Keep the base's vocabulary.")
            if kind == "WordPiece":
                added = add_entries(state, left[: self.budget])
            elif kind == "Unigram":
                added = add_pieces(state, left[: self.budget], total)
            else:
                added = add_merges(state, left, self.budget)
            extended = like(base, state)
            fresh = _unreachable(extended, state["model"], added)
            if not fresh:
                break
            lost |= {word.text: word for word in fresh}
        if lost:
            shown = ", ".join(f"'{text}'" for text in list(lost)[:3])
            ctx.log.warning(f"{len(lost):,} words cannot be reached by the base's tokenizer and are left out: {shown}")
        return extended, added

    def _candidates(self, base: PreTrainedTokenizerFast, model: dict[str, Any], counts: Counter[str]) -> tuple[list[Word], int]:
        """Words worth adding, best first, and the tokens that the whole corpus takes now."""
        cut = _cutter(base, model)
        vocab = model["vocab"] if isinstance(model["vocab"], dict) else {piece for piece, _ in model["vocab"]}
        found, tokens = [], 0
        for name in sorted(counts):
            pieces, unknown = cut(name)
            tokens += counts[name] * len(pieces)
            cost = len(pieces) + (unknown + 1 if unknown else 0)
            fits = cost > 1 and counts[name] >= self.min_count and not (unknown and model["type"] == "BPE")
            if fits and whole(model, name) not in vocab and self._allowed(base, name):
                found.append(Word(name, counts[name], pieces, cost))
        found = [word for word in found if word.saves >= self.min_gain * tokens]
        if self.by == "gain":
            found.sort(key=lambda word: (-word.saves, word.text))
        elif self.by == "frequency":
            found.sort(key=lambda word: (-word.count, word.text))
        else:
            found.sort(key=lambda word: (-word.cost / _length(base, word.text), -word.count, word.text))
        return found, tokens

    def _allowed(self, base: PreTrainedTokenizerFast, name: str) -> bool:
        return not self.letters_only or LETTERS.fullmatch(_surface(base, name)) is not None


LETTERS = regex.compile(r"[\p{L}\p{M}\u200c\u200d'’-]*\p{L}[\p{L}\p{M}\u200c\u200d'’-]*")


def _surface(base: PreTrainedTokenizerFast, name: str) -> str:
    """A word's letters as people write them."""
    decoder = base.backend_tokenizer.decoder
    return (decoder.decode([name]) if decoder is not None else name).replace("▁", " ").strip()


def _length(base: PreTrainedTokenizerFast, name: str) -> int:
    return max(len(_surface(base, name)), 1)


def _cutter(base: PreTrainedTokenizerFast, model: dict[str, Any]) -> Callable[[str], tuple[tuple[str, ...], int]]:
    """A word's pieces under the base, and the letters that none of them tells."""
    read = base.both_ends.read if reads_both_ends(base) else None
    rust = base.backend_tokenizer.model
    unknown = model.get("unk_id") if model["type"] == "Unigram" else model["vocab"].get(model.get("unk_token"))

    def cut(word: str) -> tuple[tuple[str, ...], int]:
        if read is not None:
            return tuple(read(word) or (model["unk_token"],)), 0 if read(word) else len(word)
        found = rust.tokenize(word)
        letters = len(word) if model["type"] == "WordPiece" else None  # one unknown letter makes the whole word unknown there
        return tuple(piece.value for piece in found), sum(letters or len(piece.value) for piece in found if piece.id == unknown)

    return cut


def _word_counts(base: PreTrainedTokenizerFast, texts: Iterable[str], ctx: Context) -> Counter[str]:
    """Occurrences of each word, as the tokenizer's normalizer and pre-tokenizer hand it to the model; added tokens never reach it."""
    backend = plain(base)
    normalize = backend.normalizer.normalize_str if backend.normalizer is not None else str
    split = backend.pre_tokenizer.pre_tokenize_str if backend.pre_tokenizer is not None else lambda text: [(text, None)]
    added = sorted((token.content for token in base.added_tokens_decoder.values()), key=lambda content: (-len(content), content))
    outside = regex.compile("|".join(map(regex.escape, added)) or r"(?!)")  # what the tokenizer takes out before it cuts words
    signs = Signs()
    counts: Counter[str] = Counter()
    for text in texts:
        for part in filter(str.strip, outside.split(text)):
            normal = normalize(part)
            signs.compare(part, normal)
            counts.update(word for word, _ in split(normal))
    signs.check(ctx)
    return counts


def _unreachable(extended: PreTrainedTokenizerFast, model: dict[str, Any], words: list[Word]) -> list[Word]:
    """Added words that do not come out as one token."""
    rust = extended.backend_tokenizer.model
    return [word for word in words if [piece.value for piece in rust.tokenize(word.text)] != [whole(model, word.text)]]
