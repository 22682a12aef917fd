"""Extending: the base's tokenizer with the whole words that a language or domain uses and the base cuts to pieces."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import regex
from pydantic import Field

from langadapt.errors import DataError, ModelError
from langadapt.registry.component import Component, Context
from langadapt_tokenizers.rebuild import like, product, renumber

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

EDGE = 1e-4
"""By how much, in nats, a Unigram word beats its own pieces when its corpus frequency alone would not do it."""


@dataclass(frozen=True)
class _Word:
    """A word as the tokenizer's model sees it (``▁word``, ``Ġword``), and what it costs now."""

    text: str
    count: int
    pieces: tuple[str, ...]


class Extend(Component):
    """Add a domain's frequent words as single tokens, keeping every old token, its id and its meaning.

    IndoBERTweet (Koto et al. 2021, arXiv:2109.04607) adds the most frequent words; here words are taken by what they save: ``gain`` is
    occurrences × (pieces − 1), the tokens saved; ``fragments`` takes the most fragmented words first, among those frequent enough
    (fragment score of AVocaDo, Hong et al. 2021, arXiv:2110.13434).  Words are added inside the model, never as
    "added tokens" that would be cut out before normalisation: WordPiece gets entries, Unigram pieces with their corpus
    log-probability, BPE the merges that reach them.  Text in which no new token appears is segmented exactly as before.

    Ids of old tokens stay; where an added token stood behind the model's own pieces, it moves behind the new ones.
    """

    kind: ClassVar[str] = "tokenizer"
    name: ClassVar[str] = "extend"

    budget: Annotated[int, Field(ge=1, le=500_000)] = 1000
    """Tokens to add at most (BPE's intermediate pieces count)."""
    by: Literal["gain", "fragments"] = "gain"
    min_count: Annotated[int, Field(ge=2)] = 5
    """Occurrences from which a word may be added."""
    min_gain: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Stop where a word saves less than this share of the corpus's tokens."""
    letters_only: bool = True
    """Take words made of letters and marks alone: no numbers, names of users or punctuation."""

    def train(self, texts: Iterable[str], base: PreTrainedTokenizerFast | None, ctx: Context) -> PreTrainedTokenizerFast:
        """The extended tokenizer.

        Raises:
            ModelError: no base was given, its model type cannot be extended, or an added word cannot be reached.
            DataError: the corpus has no word worth adding.
        """
        if base is None:
            raise ModelError("extend needs a base: name the stage's 'encoder'")
        state = json.loads(base.backend_tokenizer.to_str())
        kind = state["model"]["type"]
        if kind not in ("WordPiece", "Unigram", "BPE"):
            raise ModelError(f"a {kind} tokenizer cannot be extended", hint="WordPiece, Unigram and BPE can.")
        counts = _word_counts(base, texts)
        words, tokens = self._candidates(base, counts)
        if not words:
            raise DataError(
                f"no word occurs {self.min_count} times and is cut into pieces: there is nothing to add",
                hint="Give more text, lower min_count, or keep the base's vocabulary.",
            )
        before = len(base)
        if kind == "WordPiece":
            added = _add_words(state, words[: self.budget], before)
        elif kind == "Unigram":
            added = _add_pieces(state, words[: self.budget], sum(counts.values()))
        else:
            added = _add_merges(state, words, self.budget, before)
        extended = _built(base, state)
        lost = _unreachable(extended, added)
        if lost:
            raise ModelError(f"{len(lost)} added words cannot be reached, first '{lost[0].text}'")
        saved = 100 * sum(word.count * (len(word.pieces) - 1) for word in added) / max(tokens, 1)
        ctx.log.info(f"{len(added):,} words, {len(extended) - before:,} tokens added; the corpus takes {saved:.1f} % fewer tokens")
        return extended

    def _candidates(self, base: PreTrainedTokenizerFast, counts: Counter[str]) -> tuple[list[_Word], int]:
        """Words worth adding, best first, and the tokens that the whole corpus takes now."""
        names = sorted(counts)
        model = base.backend_tokenizer.model
        unknown = base.unk_token
        found, tokens = [], 0
        for name in names:
            pieces = tuple(piece.value for piece in model.tokenize(name))
            tokens += counts[name] * len(pieces)
            if len(pieces) > 1 and counts[name] >= self.min_count and unknown not in pieces and self._allowed(base, name):
                found.append(_Word(name, counts[name], pieces))
        least = self.min_gain * tokens
        found = [word for word in found if word.count * (len(word.pieces) - 1) >= least]
        if self.by == "gain":
            found.sort(key=lambda word: (-word.count * (len(word.pieces) - 1), word.text))
        else:
            found.sort(key=lambda word: (-len(word.pieces) / _length(base, word.text), -word.count, word.text))
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


def _word_counts(base: PreTrainedTokenizerFast, texts: Iterable[str]) -> Counter[str]:
    """Occurrences of each word, as the tokenizer's normalizer and pre-tokenizer hand it to the model."""
    backend = base.backend_tokenizer
    normalize = backend.normalizer.normalize_str if backend.normalizer is not None else str
    split = backend.pre_tokenizer.pre_tokenize_str if backend.pre_tokenizer is not None else lambda text: [(text, None)]
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word, _ in split(normalize(text)))
    return counts


def _add_words(state: dict[str, Any], words: list[_Word], next_id: int) -> list[_Word]:
    """WordPiece: a whole word is its own longest match, so an entry is enough."""
    vocab = state["model"]["vocab"]
    for i, word in enumerate(words):
        vocab[word.text] = next_id + i
    return words


def _add_pieces(state: dict[str, Any], words: list[_Word], total: int) -> list[_Word]:
    """Unigram: a word's log-probability in the corpus, or just above that of its pieces where these would win."""
    vocab = state["model"]["vocab"]
    scores = dict(vocab)
    first = len(vocab)
    for word in words:
        own = math.log(word.count / total)
        together = sum(scores[piece] for piece in word.pieces)
        vocab.append([word.text, max(own, together + EDGE)])
    # Added tokens behind the pieces would stand where the new ones stand now.
    order = {i: i if i < first else i + len(words) for i in range(first + len(state["added_tokens"]) + 1)}
    for item in state["added_tokens"]:
        item["id"] = order[item["id"]]
    renumber(state.get("post_processor"), order)
    return words


def _add_merges(state: dict[str, Any], words: list[_Word], budget: int, next_id: int) -> list[_Word]:
    """BPE: merges behind all others, joining each word's present pieces from the left.

    A word whose pieces earlier additions have joined already needs fewer; none of the old merges changes its turn, so old text is cut as
    before unless it holds a new token.
    """
    model = state["model"]
    vocab, merges = model["vocab"], model["merges"]
    as_list = bool(merges) and isinstance(merges[0], list)
    ranks: dict[tuple[str, str], int] = {}
    added = []
    for word in words:
        pieces = _merged(list(word.pieces), ranks, model)
        wanted = [product(model, *both) for both in _steps(pieces, model)]
        new = [one for one in wanted if one not in vocab]
        if len(new) > budget:
            continue
        for left, right in _steps(pieces, model):
            if (left, right) not in ranks:
                ranks[left, right] = len(ranks)
                merges.append([left, right] if as_list else f"{left} {right}")
        for one in new:
            vocab[one] = next_id
            next_id += 1
        budget -= len(new)
        added.append(word)
        if not budget:
            break
    return added


def _steps(pieces: list[str], model: dict[str, Any]) -> list[tuple[str, str]]:
    """Merges that join pieces from the left."""
    found, so_far = [], pieces[0]
    for piece in pieces[1:]:
        found.append((so_far, piece))
        so_far = product(model, so_far, piece)
    return found


def _merged(pieces: list[str], ranks: dict[tuple[str, str], int], model: dict[str, Any]) -> list[str]:
    """Pieces after the merges of `ranks`, lowest rank first, leftmost first: what the model will do."""
    while len(pieces) > 1:
        rank, place = min((ranks.get((pieces[i], pieces[i + 1]), len(ranks)), i) for i in range(len(pieces) - 1))
        if rank == len(ranks):
            break
        pieces[place : place + 2] = [product(model, pieces[place], pieces[place + 1])]
    return pieces


def _built(base: PreTrainedTokenizerFast, state: dict[str, Any]) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer

    return like(base, Tokenizer.from_str(json.dumps(state, ensure_ascii=False)))


def _unreachable(extended: PreTrainedTokenizerFast, words: list[_Word]) -> list[_Word]:
    """Added words that do not come out as one token."""
    model = extended.backend_tokenizer.model
    return [word for word in words if [piece.value for piece in model.tokenize(word.text)] != [word.text]]
