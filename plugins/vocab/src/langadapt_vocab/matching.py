"""matching: a new piece takes over the row of the related language's piece that means or spells the same."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from typing import Annotated, ClassVar

from pydantic import Field

from langadapt.manifests.resource import Resource
from langadapt.registry.component import Component, Context
from langadapt.registry.kinds import Mixture, Vocab
from langadapt_vocab.dictionary import read_dictionary
from langadapt_vocab.shared import OWN, canonical_tokens, shared_ids, sparse
from langadapt_vocab.simple import drawn
from langadapt_vocab.subword import pieces


class Matching(Component):
    """Copy shared tokens; match every other one by dictionary, then by spelling, else take the mean of its old pieces.

    Rybak 2024 (arXiv:2402.14408) moves a Polish encoder to Silesian and Kashubian so, with very little text.  By dictionary: a token that
    is a word takes the mean of the pieces of its first translation.  By spelling: a token takes the old token that is the same
    without Latin accents and strokes, or one letter away from it when it is long enough.
    """

    kind: ClassVar[str] = "vocab-init"
    name: ClassVar[str] = "matching"

    dictionary: Resource | None = None
    """Words of the old language and of the new one; without it only spelling matches."""
    edit_from: Annotated[int, Field(ge=3)] = 5
    """Letters from which one differing letter is taken for spelling."""

    def mixture(self, old: Vocab, new: Vocab, texts: Iterable[str] | None, ctx: Context) -> Mixture:
        """Raises DataError when the dictionary holds no pair of single words."""
        shared = shared_ids(old, new)
        spelt = canonical_tokens(new)
        fresh = [i for i in range(len(spelt)) if i not in shared]
        translated = self._translated(old, spelt, fresh, ctx)
        near = Spellings(old, self.edit_from)
        surfaces = [("" if spelt[i].startswith(OWN) else spelt[i].removeprefix("▁"), spelt[i].startswith("▁")) for i in fresh]
        spelling = dict(zip(fresh, pieces(old, surfaces), strict=True))
        rows: list[list[int]] = [[] for _ in spelt]
        words = ["mean of all"] * len(spelt)
        for i in range(len(spelt)):
            if i in shared:
                rows[i], words[i] = [shared[i]], "copied"
            elif translated.get(i):
                rows[i], words[i] = translated[i], "matched by dictionary"
            elif (match := near.find(spelt[i])) is not None:
                rows[i], words[i] = [match], "matched by spelling"
            elif spelling[i]:
                rows[i], words[i] = spelling[i], "mean of pieces"
        missing = [i for i, row in enumerate(rows) if not row]
        return Mixture(sparse(rows, len(old.tokens)), words, drawn(old, missing, ctx, spread=0.01))

    def _translated(self, old: Vocab, spelt: list[str], fresh: list[int], ctx: Context) -> dict[int, list[int]]:
        """New id → old pieces of its first translation."""
        if self.dictionary is None:
            return {}
        first: dict[str, str] = {}
        for source, target in read_dictionary(self.dictionary, ctx):
            first.setdefault(target, source)
        found = [(i, first[word]) for i in fresh if (word := spelt[i].removeprefix("▁").lower()) in first and spelt[i].startswith("▁")]
        if not found:
            ctx.log.warning("no word of the dictionary is a token of the new vocabulary: only spelling matches")
        spelling = pieces(old, [(word, True) for _, word in found])
        return {i: ids for (i, _), ids in zip(found, spelling, strict=True)}


class Spellings:
    """Old tokens by their folded spelling, and by every spelling with one letter left out."""

    def __init__(self, old: Vocab, edit_from: int) -> None:
        self.edit_from = edit_from
        self.exact: dict[str, int] = {}
        self.shorter: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for index, token in enumerate(canonical_tokens(old)):
            if token.startswith(OWN) or not token.removeprefix("▁"):
                continue
            form = fold(token)
            self.exact.setdefault(form, index)  # low ids are frequent tokens
            if len(form) >= edit_from:
                for short in {form, *_without_one(form)}:
                    self.shorter[short].append((index, form))

    def find(self, token: str) -> int | None:
        """The old token spelt like this one, or one letter away; None where there is none."""
        if token.startswith(OWN) or not token.removeprefix("▁"):
            return None
        form = fold(token)
        if form in self.exact:
            return self.exact[form]
        if len(form.removeprefix("▁")) < self.edit_from:
            return None
        near = {place for short in {form, *_without_one(form)} for place in self.shorter.get(short, ()) if _one_edit(form, place[1])}
        return min(near)[0] if near else None


STROKES = str.maketrans({"ł": "l", "đ": "d", "ð": "d", "ø": "o", "ħ": "h", "ŧ": "t", "ı": "i", "æ": "ae", "œ": "oe", "ß": "ss"})


def fold(text: str) -> str:
    """Lower case without the accents and strokes of Latin, Greek and Cyrillic letters; signs of other scripts stay."""
    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not 0x300 <= ord(c) <= 0x36F)
    return unicodedata.normalize("NFC", plain).translate(STROKES)


def _without_one(text: str) -> Iterable[str]:
    """Every spelling with one letter left out; the mark of a word's beginning stays."""
    first = 1 if text.startswith("▁") else 0
    return (text[:i] + text[i + 1 :] for i in range(first, len(text)))


def _one_edit(a: str, b: str) -> bool:
    """One letter changed, added or left out, and the same place in a word."""
    if abs(len(a) - len(b)) > 1 or a.startswith("▁") != b.startswith("▁"):
        return False
    i = 0
    while i < min(len(a), len(b)) and a[i] == b[i]:
        i += 1
    return a[i + 1 :] == b[i + 1 :] or a[i:] == b[i + 1 :] or a[i + 1 :] == b[i:]
