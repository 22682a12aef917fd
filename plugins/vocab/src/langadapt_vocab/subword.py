"""mean-subword: a new token starts at the mean of the old pieces that spelt it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from langadapt.contracts import Context, Mixture, Vocab, VocabInit
from langadapt.contracts.text import token_ids
from langadapt_vocab.shared import END, Surface, canonical_tokens, is_byte_level, marks_ends, places, shared_ids, sparse, surface
from langadapt_vocab.simple import drawn


class MeanSubword(VocabInit):
    """Copy shared tokens; a new token gets the mean of its pieces under the old tokenizer.

    IndoBERTweet (Koto et al. 2021, arXiv:2109.04607).  A token that the old tokenizer cannot spell (unknown script) starts at the
    mean of all rows.
    """

    name: ClassVar[str] = "mean-subword"
    version: ClassVar[str] = "2"

    def mixture(self, old: Vocab, new: Vocab, texts: Iterable[str] | None, ctx: Context) -> Mixture:
        shared = shared_ids(old, new)
        fresh = [i for i in range(len(new.tokens)) if i not in shared]
        spelt = dict(zip(fresh, pieces(old, surfaces(new, fresh)), strict=True))
        rows, words = [], []
        for i in range(len(new.tokens)):
            if i in shared:
                rows.append([shared[i]])
                words.append("copied")
            elif spelt[i]:
                rows.append(spelt[i])
                words.append("mean of pieces")
            else:
                rows.append([])
                words.append("mean of all")
        missing = [i for i, row in enumerate(rows) if not row]
        return Mixture(sparse(rows, len(old.tokens)), words, drawn(old, missing, ctx, spread=0.01))


def surfaces(vocab: Vocab, ids: list[int]) -> list[Surface]:
    """What tokens spell."""
    spelt, of_ends = canonical_tokens(vocab), marks_ends(vocab)
    return [surface(spelt[i], of_ends) for i in ids]


def pieces(old: Vocab, wanted: list[Surface]) -> list[list[int]]:
    """Old ids that spell each text; for one inside a word, without the mark of a word's beginning or end.

    Unknown pieces do not count: a text spelt by nothing else gets an empty list.
    """
    unknown = old.special.get("unk")
    spelt, of_ends = canonical_tokens(old), marks_ends(old)
    there = places(old, of_ends)
    space = " " if is_byte_level(old) and not of_ends else ""  # other types mark the beginning of a word by themselves
    found = []
    encoded = token_ids(old.tokenizer, [space + one.text if one.begins else one.text for one in wanted], special_tokens=False)
    for all_ids, one in zip(encoded, wanted, strict=True):
        ids = [i for i in all_ids if i != unknown]
        if len(ids) < len(all_ids) and all(spelt[i] == "▁" for i in ids):  # the mark of a word's beginning, and nothing known
            ids = []
        if ids and not one.begins and spelt[ids[0]].startswith("▁"):
            inner = spelt[ids[0]].removeprefix("▁")
            if not inner:
                ids = ids[1:]
            elif inner in there:
                ids[0] = there[inner]
        if ids and not one.ends and of_ends:
            ids[-1] = there.get(spelt[ids[-1]].removesuffix(END), ids[-1])
        found.append(ids)
    return found
