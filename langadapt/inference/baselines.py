"""What every encoder should beat: vectors without any learning, for a place beside it in a table."""

from __future__ import annotations

import hashlib
import math
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from langadapt.contracts.component import Log
from langadapt.errors import DataError, ModelError, did_you_mean
from langadapt.inference.texts import check_texts

PREFIX = "baseline:"
"""Begins a baseline's name where encoders are named."""


class NotOffered(ModelError):
    """A baseline has no tokens, no layers and no weights."""


class Baseline:
    """An encoder by the contract of :class:`~langadapt.contracts.Embeds` that makes vectors from the letters of a text alone."""

    width = 2048
    gives = "dense"
    device = "cpu"

    def __init__(self, name: str) -> None:
        """Choose one by its name, ``random`` or ``char-ngrams``.

        Raises:
            DataError: there is none of that name.
        """
        if name not in VECTORS:
            raise DataError(f"there is no baseline '{name}'", hint=did_you_mean(name, VECTORS))
        self.name = name

    def role(self, name: str) -> str | None:
        return None

    def encode(
        self,
        texts: Sequence[str],
        *,
        adapter: str | Sequence[str | None] | None = None,
        batch_tokens: int = 4096,
        progress: bool | Log = False,
        normalize: bool | None = None,
    ) -> np.ndarray:
        """Vectors of texts, in order: (n, 2048) float32 of length one (of zeros for a text without letters)."""
        check_texts(texts)
        found = np.zeros((len(texts), self.width), np.float32)
        for row, text in zip(found, texts, strict=True):
            VECTORS[self.name](text, row)
        found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        return found

    def __getattr__(self, what: str) -> NoReturn:
        """Everything else that the contract names.

        Raises:
            NotOffered: always.
        """
        if what.startswith("__"):
            raise AttributeError(what)
        raise NotOffered(f"the baseline '{self.name}' has no {what.replace('_', ' ')}")


def _random(text: str, row: np.ndarray) -> None:
    """A draw of its own for each text, the same each time."""
    row[:] = np.random.default_rng(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")).normal(size=len(row))


def _char_ngrams(text: str, row: np.ndarray) -> None:
    """Counts of a word's two to four neighbouring letters, dampened by their logarithm and hashed (Weinberger et al. 2009)."""
    grams: Counter[str] = Counter()
    for word in text.casefold().split():
        padded = f" {word} "
        grams.update(padded[i : i + n] for n in (2, 3, 4) for i in range(len(padded) - n + 1))
    for gram, count in grams.items():
        mark = zlib.crc32(gram.encode())
        row[mark % len(row)] += (1 + math.log(count)) * (1 if mark >> 31 else -1)


VECTORS: dict[str, Callable[[str, np.ndarray], Any]] = {"random": _random, "char-ngrams": _char_ngrams}
