"""Vocabularies as vocab-inits see them, what a vocab-init proposes, and how characters are taken apart in some vocabularies."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_array
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Vocab:
    """A vocabulary as vocab-inits see it.

    Args:
        tokens: piece strings by id, (V,).
        tokenizer: the tokenizer itself, to segment text with.
        special: ids of the special tokens by role (``pad``, ``unk``, ``mask``, …).
        rows: input embeddings, (V, d) float32, or None for a vocabulary that has none yet.
        model: the encoder whose rows these are, for methods that run it; they leave its weights as they are.
    """

    tokens: list[str]
    tokenizer: PreTrainedTokenizerFast
    special: dict[str, int]
    rows: np.ndarray | None = None
    model: PreTrainedModel | None = None


@dataclass(frozen=True)
class Mixture:
    """How new embedding rows come from old ones: ``new = weights @ old``, then `rows` set outright.

    Args:
        weights: (V_new, V_old) sparse; a row of zeros must have an entry in `rows`.
        rows: new id → row of shape (d,), for rows that are no mixture.
        provenance: (V_new,) one word per new token: ``copied``, ``mean``, ``random``, …
    """

    weights: csr_array
    provenance: list[str]
    rows: dict[int, np.ndarray] = field(default_factory=dict)


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
