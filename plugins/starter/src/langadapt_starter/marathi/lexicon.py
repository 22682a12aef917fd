"""Reads the word tables next to this module and checks that they fit together.

Every oblique, plural and irregular verb stem is written out in the tables: Marathi obliques cannot
be guessed safely from the citation form (``आरसा`` -> ``आरशा``, ``कपडा`` -> ``कपड्या``). ``-`` marks
a cell without a value; a noun without a plural is a mass noun or a name. Each row belongs to one
split; rows with split ``all`` are light verbs, which every split may use.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Noun:
    lemma: str
    split: str
    gender: str
    oblique: str
    plural: str
    oblique_plural: str
    classes: tuple[str, ...]
    hypernym: str
    synonym: str


@dataclass(frozen=True)
class Verb:
    lemma: str
    split: str
    kinds: tuple[str, ...]
    ergative: bool
    objects: tuple[str, ...]
    finite: str
    progressive: str
    perfective: str
    future: str
    future_plural: str
    able: str
    infinitive: str
    antonym: str
    synonym: str


@dataclass(frozen=True)
class Adjective:
    lemma: str
    split: str
    declines: bool
    applies: tuple[str, ...]
    antonym: str
    synonym: str


@dataclass(frozen=True)
class Adverb:
    lemma: str
    split: str
    kinds: tuple[str, ...]
    antonym: str
    synonym: str


@dataclass(frozen=True)
class Numeral:
    """A number word, optionally with ``फक्त`` (exactly) or ``किमान`` (at least) in front of it."""

    lemma: str
    value: int
    qualifier: str = ""


@dataclass(frozen=True)
class Pronoun:
    """An indefinite subject; both agree as neuter singular."""

    lemma: str
    dative: str


Word = Noun | Verb | Adjective | Adverb | Numeral | Pronoun
SOMEONE = Pronoun("कोणीतरी", "कोणालातरी")
NOBODY = Pronoun("कोणीही", "कोणालाही")


@dataclass(frozen=True)
class Lexicon:
    """The words one split may use, in table order."""

    nouns: tuple[Noun, ...]
    verbs: tuple[Verb, ...]
    adjectives: tuple[Adjective, ...]
    adverbs: tuple[Adverb, ...]
    numerals: tuple[Numeral, ...]

    @cached_property
    def _index(self) -> dict[tuple[type, str], Word]:
        words: tuple[Word, ...] = (*self.nouns, *self.verbs, *self.adjectives, *self.adverbs)
        return {(type(word), word.lemma): word for word in words}

    @cached_property
    def _found(self) -> dict[tuple[str, ...], list[Noun]]:
        return {}

    def nouns_of(self, *classes: str) -> list[Noun]:
        if classes not in self._found:
            self._found[classes] = [noun for noun in self.nouns if set(noun.classes) & set(classes)]
        return self._found[classes]

    def verbs_of(self, kind: str) -> list[Verb]:
        return [verb for verb in self.verbs if kind in verb.kinds]

    def adverbs_of(self, *kinds: str) -> list[Adverb]:
        return [adverb for adverb in self.adverbs if set(adverb.kinds) & set(kinds)]

    def adjectives_for(self, *classes: str) -> list[Adjective]:
        return [adjective for adjective in self.adjectives if set(adjective.applies) & set(classes)]

    def related(self, word: Word, lemma: str) -> Word | None:
        """The word of the same part of speech with that lemma; ``-`` gives None."""
        return self._index.get((type(word), lemma))


def _rows(table: str) -> Iterator[list[str]]:
    text = resources.files(__package__).joinpath("lexicon", f"{table}.tsv").read_text(encoding="utf-8")
    if not unicodedata.is_normalized("NFC", text):
        raise ValueError(f"{table}.tsv is not in Unicode form NFC")
    header, *lines = text.splitlines()
    for line in lines:
        cells = line.split("\t")
        if len(cells) != header.count("\t") + 1:
            raise ValueError(f"{table}.tsv: wrong number of cells in {line!r}")
        yield cells


def _list(cell: str) -> tuple[str, ...]:
    return () if cell == "-" else tuple(cell.split(","))


def _verb(c: list[str]) -> Verb:
    ergative, objects = c[3] == "y", _list(c[4])
    return Verb(c[0], c[1], _list(c[2]), ergative, objects, c[5], c[6], c[7], c[8], c[9], c[10], c[11], c[12], c[13])


@lru_cache(maxsize=1)
def tables() -> tuple[tuple[Noun, ...], tuple[Verb, ...], tuple[Adjective, ...], tuple[Adverb, ...]]:
    """All rows of all splits, in file order."""
    nouns = tuple(Noun(c[0], c[1], c[2], c[3], c[4], c[5], _list(c[6]), c[7], c[8]) for c in _rows("nouns"))
    verbs = tuple(_verb(c) for c in _rows("verbs"))
    adjectives = tuple(Adjective(c[0], c[1], c[2] == "y", _list(c[3]), c[4], c[5]) for c in _rows("adjectives"))
    adverbs = tuple(Adverb(c[0], c[1], _list(c[2]), c[3], c[4]) for c in _rows("adverbs"))
    return nouns, verbs, adjectives, adverbs


@lru_cache(maxsize=1)
def function_words() -> frozenset[str]:
    """Words every split may use: copulas, auxiliaries, conjunctions, quantifiers."""
    return frozenset(cells[0] for cells in _rows("functions"))


@lru_cache(maxsize=len(SPLITS))
def load(split: str) -> Lexicon:
    """The lexicon of one split; raises ValueError for an unknown split or a broken cross-reference."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    nouns, verbs, adjectives, adverbs = tables()
    lexicon = Lexicon(
        nouns=tuple(word for word in nouns if word.split == split),
        verbs=tuple(word for word in verbs if word.split in (split, "all")),
        adjectives=tuple(word for word in adjectives if word.split == split),
        adverbs=tuple(word for word in adverbs if word.split == split),
        numerals=tuple(Numeral(lemma, int(value)) for lemma, value in _rows("numerals")),
    )
    words: tuple[Word, ...] = (*lexicon.nouns, *lexicon.verbs, *lexicon.adjectives, *lexicon.adverbs)
    for word in words:
        for field in ("hypernym", "antonym", "synonym"):
            target = getattr(word, field, "-")
            if target != "-" and lexicon.related(word, target) is None:
                raise ValueError(f"{word.lemma}: {field} {target!r} is not in split {split!r}")
    return lexicon
