"""How characters are taken apart in some vocabularies, and put together again."""

from __future__ import annotations

import unicodedata

ETHIOPIC = range(0x1200, 0x1358)
"""Syllables in rows of eight: one consonant in its orders (vowels)."""

ORDER = 0xE000
"""The vowel of an Ethiopic syllable is written with the private character 0xE000 + its order: Unicode has no letter for it."""


def decompose(text: str) -> str:
    """Every character in its parts: jamo, consonant and vowel of Ethiopic syllables, letters and their marks."""
    return "".join(take_apart(letter) for letter in unicodedata.normalize("NFD", text))


def recompose(text: str) -> str:
    """The text of parts: the inverse of :func:`decompose`, up to NFC.  A part that stands alone stays."""
    found: list[str] = []
    for letter in text:
        order = ord(letter) - ORDER
        if found and 0 < order < 8 and ord(found[-1]) in ETHIOPIC:
            found[-1] = chr(ord(found[-1]) + order)
        else:
            found.append(letter)
    return unicodedata.normalize("NFC", "".join(found))


def take_apart(letter: str) -> str:
    """Consonant and vowel of an Ethiopic syllable; any other letter as it is."""
    place = ord(letter)
    if place not in ETHIOPIC or place % 8 == 0 or unicodedata.category(letter) != "Lo":
        return letter
    return chr(place - place % 8) + chr(ORDER + place % 8)
