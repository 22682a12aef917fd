"""Pruning: the base's tokenizer without the pieces a language never uses."""

from __future__ import annotations

import itertools
import json
import string
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import regex
from pydantic import Field

from langadapt.contracts import Context, TokenizerTrainer
from langadapt.contracts.text import script_class, token_ids
from langadapt.errors import ModelError
from langadapt_tokenizers.bidirectional import piece_counts
from langadapt_tokenizers.rebuild import like, pair, plain, product, reads_both_ends, renumber, state_of
from langadapt_tokenizers.spelling import Signs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from langadapt_tokenizers.tokenization_bidirectional import BidirectionalWordPieceTokenizerFast


class Prune(TokenizerTrainer):
    """Keep the pieces that a corpus uses, those wholly in a script that is the language's own, and ASCII; drop the rest.

    Vocabulary trimming (Ushio et al. 2023, arXiv:2305.15020; AfroXLMR: Alabi et al. 2022, arXiv:2204.06487).  Text that the
    kept pieces cover is segmented exactly as before, because every piece of its best segmentation is kept: that holds for
    Unigram and WordPiece.  For BPE, every merge whose product is kept stays together with the pieces it is made of, so no
    token becomes unreachable.

    A base of which most pieces are kept anyway (a monolingual one) is left as it is.
    """

    name: ClassVar[str] = "prune"
    version: ClassVar[str] = "3"

    scripts: list[str] = []
    """ISO 15924 codes: pieces written in these scripts alone stay, used or not, as `unused` says."""
    unused: Literal["keep", "drop", "auto"] = "auto"
    """Pieces of the scripts that the corpus does not use.  ``auto`` keeps them, but for Latin and Cyrillic in a vocabulary of several
    scripts: these are written by dozens of languages, and there the corpus decides, single letters apart."""
    min_count: Annotated[int, Field(ge=1)] = 1
    """Occurrences in the corpus from which a piece counts as used."""
    min_saving: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Share of the vocabulary that must go for pruning to be worth it."""

    def train(self, texts: Iterable[str], base: PreTrainedTokenizerFast | None, ctx: Context) -> PreTrainedTokenizerFast:
        """The pruned tokenizer; ids are the old order without gaps.

        Raises:
            ModelError: no base was given, or it cannot be pruned: its model type, or a part of it that is Python code.
            RegistryError: a script that Unicode does not know.
        """
        if base is None:
            raise ModelError("prune needs a base: name the stage's 'encoder'")
        state = state_of(base)
        _say_lost_signs(base, texts, ctx)
        counts = _both_readings(base, texts) if reads_both_ends(base) else _counts(base, texts)
        kept = self._kept(state, base, counts)
        size = len(base)
        if len(kept) > (1 - self.min_saving) * size:
            ctx.log.info(f"{len(kept):,} of {size:,} pieces are in use: the vocabulary stays as it is")
            return base
        return _rebuilt(base, state, kept)

    def _kept(self, state: dict[str, Any], base: PreTrainedTokenizerFast, counts: Counter[int]) -> set[int]:
        """Ids that stay."""
        native = regex.compile(rf"[{script_class(self.scripts)}\p{{M}}]*") if self.scripts else None
        spelt = _speller(base, state)
        whole = self._keeps_unused([spelt(token) for token in base.get_vocab()], native)
        common = set(string.ascii_letters + string.digits + string.punctuation + "▁ \u200c\u200d।॥")
        special = set(base.all_special_ids) | {item["id"] for item in state["added_tokens"]}
        kept = set(special)
        for token, index in base.get_vocab().items():
            bare = spelt(token)
            if (
                counts[index] >= self.min_count
                or (native is not None and (whole or len(bare) == 1) and native.fullmatch(bare))
                or token == "▁"
                or (len(bare) == 1 and bare in common)
            ):
                kept.add(index)
        if state["model"]["type"] == "BPE":
            _close_over_merges(state["model"], kept)
        if state["model"].get("byte_fallback"):
            kept.update(base.convert_tokens_to_ids([f"<0x{byte:02X}>" for byte in range(256)]))
        return kept

    def _keeps_unused(self, pieces: list[str], native: regex.Pattern[str] | None) -> bool:
        if self.unused != "auto" or native is None or not SHARED & set(self.scripts):
            return self.unused != "drop"
        return sum(1 for piece in pieces if native.fullmatch(piece)) >= MONOLINGUAL * len(pieces)


SHARED = {"Latn", "Cyrl"}
"""Scripts that dozens of languages write."""
MONOLINGUAL = 0.8
"""Share of one script's pieces from which a vocabulary is likely one language's."""


def _say_lost_signs(base: PreTrainedTokenizerFast, texts: Iterable[str], ctx: Context) -> None:
    """Pruning changes no spelling; that the base's own rules destroy words of this text is worth knowing."""
    normalizer = plain(base).normalizer
    if normalizer is None:
        return
    signs = Signs()
    for text in itertools.islice(texts, 1000):
        signs.compare(text, normalizer.normalize_str(text))
    signs.say(ctx)


def _speller(base: PreTrainedTokenizerFast, state: dict[str, Any]) -> Callable[[str], str]:
    """What a piece spells, without marks of a word's beginning or inside."""
    decoder = base.backend_tokenizer.decoder
    if decoder is not None and "ByteLevel" in json.dumps(state["decoder"]):
        return lambda token: decoder.decode([token]).removeprefix(" ")  # half a letter's bytes spell U+FFFD, which is of no script
    inside = state["model"].get("continuing_subword_prefix") or "##"
    return lambda token: token.removeprefix("▁").removeprefix(inside)


def _counts(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]) -> Counter[int]:
    """Occurrences of each id."""
    counts: Counter[int] = Counter()
    block: list[str] = []
    for text in texts:
        block.append(text)
        if len(block) == 1024:
            counts.update(itertools.chain.from_iterable(token_ids(tokenizer, block)))
            block = []
    counts.update(itertools.chain.from_iterable(token_ids(tokenizer, block)))
    return counts


def _both_readings(base: BidirectionalWordPieceTokenizerFast, texts: Iterable[str]) -> Counter[int]:
    """Occurrences of each id in either reading of the words: without the losing one's pieces another would come up, and might win."""
    vocab = base.get_vocab()
    return Counter({vocab[piece]: count for piece, count in piece_counts(base.plain_backend(), texts, base.both_ends).items()})


def _close_over_merges(model: dict[str, Any], kept: set[int]) -> None:
    """Add the parts of every kept BPE token, last merge first, and all single characters."""
    vocab = model["vocab"]
    for merge in reversed(model["merges"]):
        left, right = pair(merge)
        if vocab[product(model, left, right)] in kept:
            kept.update((vocab[left], vocab[right]))
    kept.update(index for token, index in vocab.items() if len(token) == 1)


def _rebuilt(base: PreTrainedTokenizerFast, state: dict[str, Any], kept: set[int]) -> PreTrainedTokenizerFast:
    order = {old: new for new, old in enumerate(sorted(kept))}
    model = state["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [piece for i, piece in enumerate(model["vocab"]) if i in kept]
        model["unk_id"] = order.get(model["unk_id"])
    elif model["type"] in ("WordPiece", "BPE"):
        model["vocab"] = {token: order[i] for token, i in model["vocab"].items() if i in kept}
        if model["type"] == "BPE":
            model["merges"] = [m for m in model["merges"] if {*pair(m), product(model, *pair(m))} <= model["vocab"].keys()]
    else:
        raise ModelError(f"a {model['type']} tokenizer cannot be pruned")
    for item in state["added_tokens"]:
        item["id"] = order[item["id"]]
    renumber(state.get("post_processor"), order)
    return like(base, state)
