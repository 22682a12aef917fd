"""matching: a new piece takes over the rows of the related language's pieces that mean the same, or of the piece spelt the same."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from langadapt.contracts import Context, Mixture, Resource, Vocab, VocabInit
from langadapt.errors import DataError
from langadapt_vocab.dictionary import read_dictionary
from langadapt_vocab.shared import END, OWN, Surface, canonical_tokens, marks_ends, readings, shared_ids, sparse
from langadapt_vocab.simple import drawn
from langadapt_vocab.subword import pieces, surfaces


class Matching(VocabInit):
    """Match tokens by dictionary first, copy those that both vocabularies have, match by spelling, else take the mean of old pieces.

    Rybak 2024 (arXiv:2402.14408) moves a Polish encoder to Silesian and Kashubian by matching vocabularies, with very little text, the
    dictionary first: words that are spelt alike in related languages may mean something else.  The author's code is not known to us;
    what follows the dictionary is ours.  By dictionary: a token that is a word takes the mean of the pieces of its first translation.  By
    spelling: a token takes the old token that is the same once `spelling` is applied and Latin accents and strokes are dropped, or one
    letter away from it when it is long enough.
    """

    name: ClassVar[str] = "matching"
    version: ClassVar[str] = "3"

    dictionary: Resource | None = None
    """Words of the old language and of the new one; without it only spelling matches."""
    first: Literal["dictionary", "shared"] = "dictionary"
    """What decides of a token that is in both: ``shared`` copies it whatever the dictionary says."""
    spelling: dict[Annotated[str, Field(min_length=1, max_length=8)], Annotated[str, Field(max_length=8)]] = {}
    """Letters of the new language → how the old one writes them, the longest first: for Silesian of Polish ``{ŏ: a, ô: o, ō: o}``
    (prŏwda is prawda, ôko is oko, dōm is dom)."""
    edit_from: Annotated[int, Field(ge=3)] = 5
    """Letters from which one differing letter is taken for spelling."""

    def mixture(self, old: Vocab, new: Vocab, texts: Iterable[str] | None, ctx: Context) -> Mixture:
        """Raises DataError when the dictionary holds no pair of single words, or fewer than two of the new vocabulary's words."""
        shared = shared_ids(old, new)
        spelt = canonical_tokens(new)
        fresh = [i for i in range(len(spelt)) if i not in shared]
        special = set(new.special.values())
        asked = fresh if self.first == "shared" else [i for i in range(len(spelt)) if i not in special]
        translated = self._translated(old, new, asked, ctx)
        of_ends = marks_ends(new)
        near = Spellings(old, self.edit_from, of_ends)
        ask = of_ends and not marks_ends(old)
        spelling = dict(zip(fresh, pieces(old, surfaces(new, fresh)), strict=True))
        rows: list[list[int]] = [[] for _ in spelt]
        words = ["mean of all"] * len(spelt)
        for i in range(len(spelt)):
            if translated.get(i):
                rows[i], words[i] = translated[i], "matched by dictionary"
            elif i in shared:
                rows[i], words[i] = [shared[i]], "copied"
            elif (match := near.first([self._respelt(one) for one in readings(spelt[i], ask)])) is not None:
                rows[i], words[i] = [match], "matched by spelling"
            elif spelling[i]:
                rows[i], words[i] = spelling[i], "mean of pieces"
        missing = [i for i, row in enumerate(rows) if not row]
        return Mixture(sparse(rows, len(old.tokens)), words, drawn(old, missing, ctx, spread=0.01))

    def _respelt(self, token: str) -> str:
        for letters in sorted(self.spelling, key=len, reverse=True):
            token = token.replace(letters, self.spelling[letters])
        return token

    def _translated(self, old: Vocab, new: Vocab, fresh: list[int], ctx: Context) -> dict[int, list[int]]:
        """New id → old pieces of its first translation."""
        if self.dictionary is None:
            return {}
        first: dict[str, str] = {}
        for source, target in read_dictionary(self.dictionary, ctx):
            first.setdefault(target, source)
        words = zip(fresh, surfaces(new, fresh), strict=True)
        found = [(i, first[word]) for i, one in words if one.begins and one.ends and (word := one.text.lower()) in first]
        rest = set(range(len(new.tokens))) - set(fresh)
        known = len(found) + sum(one.text.lower() in first for one in surfaces(new, sorted(rest)))
        if known < 2:
            raise DataError(
                f"{known} of the dictionary's {len(first):,} words are tokens of the new vocabulary: it says nothing of the rest",
                where=self.dictionary.name,
                hint="Give a larger dictionary, check which column is which language, or match by spelling alone (vocab-init: matching).",
            )
        ctx.log.info(f"{len(found):,} new tokens have a translation among the dictionary's {len(first):,} words")
        spelling = pieces(old, [Surface(word, True, True) for _, word in found])
        return {i: ids for (i, _), ids in zip(found, spelling, strict=True)}


class Spellings:
    """Old tokens by their folded spelling, and by every spelling with one letter left out.

    Args:
        edit_from: letters from which one differing letter is allowed.
        of_ends: whether the tokens to be found mark the ends of words, as in :func:`langadapt_vocab.shared.places`.
    """

    def __init__(self, old: Vocab, edit_from: int, of_ends: bool = False) -> None:
        self.edit_from = edit_from
        self.exact: dict[str, int] = {}
        self.shorter: dict[str, list[tuple[int, str]]] = defaultdict(list)
        marked = marks_ends(old)
        spelt = canonical_tokens(old)
        order = sorted(range(len(spelt)), key=lambda i: marked and not spelt[i].endswith(END))  # low ids are frequent tokens
        for index in order:
            for token in readings(spelt[index], marked and not of_ends):
                self._add(token, index)

    def _add(self, token: str, index: int) -> None:
        if token.startswith(OWN) or not token.removeprefix("▁"):
            return
        form = fold(token)
        self.exact.setdefault(form, index)
        if len(form) >= self.edit_from:
            for short in {form, *_without_one(form)}:
                self.shorter[short].append((index, form))

    def first(self, spellings: list[str]) -> int | None:
        """What :meth:`find` finds for the first of some spellings that it finds anything for."""
        return next((match for spelling in spellings if (match := self.find(spelling)) is not None), None)

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
