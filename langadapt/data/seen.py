"""Which rows of a test stand, word for word or nearly, in what an encoder was trained on."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import regex

Row = tuple[str, ...]
"""The texts of one row."""

SIMILAR = 0.8
"""Shared words over all words of two texts from which they are nearly the same."""

UNSPACED = 12
"""Letters a word from which a text is taken to be written without spaces, and its pairs of letters stand for words."""

WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")


def row_key(row: Row) -> int:
    """A number for a row's texts in any order, by letters, marks and digits: what differs by case or a full stop is the same row."""
    plain = sorted(_read(text)[0] for text in row)
    return int.from_bytes(hashlib.blake2b("\0".join(plain).encode(), digest_size=8).digest(), "big")


def _read(text: str) -> tuple[str, list[str]]:
    """A text without case, signs and spaces (one of signs alone, an emoji, as it stands), and its words."""
    folded = text.casefold()
    words = WORD.findall(folded)
    return "".join(words) or folded.strip(), words


@dataclass(frozen=True)
class Match:
    """A text of the training data that a test's text equals, or nearly."""

    text: str
    place: str
    """What it stands in."""
    same: bool


@dataclass
class TestTexts:
    """Texts of tests, indexed so that training data streams past them; memory is that of the tests.

    Texts whose sets of words overlap by `SIMILAR` (Jaccard) share one of their rarest words (prefix filtering: Chaudhuri et al. 2006,
    Bayardo et al. 2007), so few pairs are compared and none is missed.
    """

    __test__ = False  # no test of pytest's

    texts: Sequence[str]
    found: dict[int, Match] = field(default_factory=dict)
    """Place of a text → what it was found as; the same beats nearly the same, and the first of each stays."""
    _exact: dict[str, list[int]] = field(default_factory=dict)
    _sets: list[frozenset[str]] = field(default_factory=list)
    _counts: Counter[str] = field(default_factory=Counter)
    _by_word: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for i, text in enumerate(self.texts):
            letters, words = _read(text)
            self._exact.setdefault(letters, []).append(i)
            self._sets.append(_units(words))
            self._counts.update(self._sets[-1])
        for i, units in enumerate(self._sets):
            for word in self._rarest(units):
                self._by_word.setdefault(word, []).append(i)

    def _rarest(self, units: frozenset[str]) -> list[str]:
        """The words of which two similar sets share one; words that no test has come first, being rarest."""
        count = len(units) - math.ceil(SIMILAR * len(units) - 1e-9) + 1
        return sorted(units, key=lambda word: (self._counts.get(word, 0), word))[:count]

    def read(self, texts: Iterable[str], place: str) -> None:
        """Let training texts stream past."""
        for text in texts:
            letters, words = _read(text)
            for i in self._exact.get(letters, ()):
                if i not in self.found or not self.found[i].same:
                    self.found[i] = Match(text, place, True)
            units = _units(words)
            for i in self._candidates(units):
                common = len(units & self._sets[i])
                if common >= SIMILAR * (len(units) + len(self._sets[i]) - common) - 1e-9:
                    self.found.setdefault(i, Match(text, place, False))

    def _candidates(self, units: frozenset[str]) -> Iterator[int]:
        """Test texts that could be similar and are not found yet."""
        seen = set()
        for word in self._rarest(units):
            for i in self._by_word.get(word, ()):
                if i not in seen and i not in self.found:
                    seen.add(i)
                    yield i


def _units(words: list[str]) -> frozenset[str]:
    """What two texts share: words, or pairs of letters where a script has no spaces."""
    joined = "".join(words)
    if words and len(joined) > UNSPACED * len(words):
        return frozenset(joined[i : i + 2] for i in range(len(joined) - 1)) or frozenset(words)
    return frozenset(words)


@dataclass(frozen=True)
class SeenRow:
    """A row of a test all of whose texts stand in training data."""

    place: int
    """Of the row in the test."""
    row: Row
    matches: tuple[Match, ...]
    """Of each text."""

    @property
    def same(self) -> bool:
        """Whether every text is there word for word, and none only nearly."""
        return all(match.same for match in self.matches)


def find(texts: Sequence[str], trained: Iterable[str], place: str) -> dict[str, Match]:
    """Text of a test → what it was found as in one data set, which is read once."""
    distinct = list(dict.fromkeys(texts))
    index = TestTexts(distinct)
    index.read(trained, place)
    return {distinct[i]: match for i, match in index.found.items()}


def seen_rows(rows: Sequence[Row], found: Sequence[Mapping[str, Match]]) -> list[SeenRow]:
    """Rows all of whose texts stand in the training data: a pair of which training saw one side alone is not among them.

    Args:
        rows: of the test.
        found: of each data set, what :func:`find` found in it.
    """
    seen = []
    for place, row in enumerate(rows):
        matches = [max((one[text] for one in found if text in one), key=lambda match: match.same, default=None) for text in row]
        if row and all(matches):
            seen.append(SeenRow(place, row, tuple(match for match in matches if match)))
    return seen
