"""hashed-ngram: the input row of a token is hashed from the n-grams it is spelt with; nothing of it is learnt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from langadapt.contracts import Embedding
from langadapt.errors import ModelError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerFast


class HashedNgram(Embedding):
    """N-gram pooling hash (EELBERT; Cohn, Agarwal, Gupta & Patwardhan 2023, arXiv:2310.20144).

    For every size i from 1 to `longest`, each i-gram of characters of a token, as the vocabulary writes it, is hashed by a rolling
    polynomial; the hash times each seed of the size's part of the row, modulo `buckets`, is brought to [-1, 1], and the part is the mean
    over the token's i-grams.  Part i has i shares of the row's numbers, of 1 + 2 + … + `longest` shares; the last takes what is left.
    A part is zero where a token has fewer than i characters.

    The authors publish no code, so nothing was compared with theirs by number: the formula is the paper's, and what it leaves open is
    ours.  That is how a row is shared out among the sizes, the polynomial's base 31 and modulus 10⁹ + 7, NumPy's draw of the seeds, and
    zeros where a token is too short.  The paper's system leaves the rows out of the model and computes them on the device that runs it;
    a release of ours is a plain checkpoint that holds them, which other libraries read, so it is no smaller than others, and
    `encoder.json` names this component, so that further training computes them again.
    """

    name: ClassVar[str] = "hashed-ngram"

    longest: Annotated[int, Field(ge=1, le=8)] = 3
    """N: characters of the longest n-grams."""
    buckets: Annotated[int, Field(ge=3, lt=2**31)] = 1_000_000_007
    """B: numbers that a product of hash and seed falls among."""
    seed: int = 0
    """Of the hash seeds: another one gives another table."""

    def build(self, tokenizer: PreTrainedTokenizerFast, width: int) -> nn.Module:
        shares = self.longest * (self.longest + 1) // 2
        if width < shares:
            raise ModelError(
                f"hashed-ngram parts a row among {shares} shares, and the encoder's has {width} numbers",
                hint="Choose a smaller 'longest'.",
            )
        vocab = tokenizer.get_vocab()
        tokens = [""] * (1 + max(vocab.values()))  # numbering may have holes
        for token, index in vocab.items():
            tokens[index] = token
        return _table(self.rows(tokens, width))

    def rows(self, tokens: list[str], width: int) -> np.ndarray:
        """Rows (n, `width`) float32 of tokens."""
        seeds = np.random.default_rng(self.seed).integers(1, 2**31, width, dtype=np.int64)
        found = np.zeros((len(tokens), width), dtype=np.float32)
        for size, part in enumerate(self._parts(width), start=1):
            for start in range(0, len(tokens), BLOCK):
                block = slice(start, min(start + BLOCK, len(tokens)))
                found[block, part] = self._pooled(tokens[block], size, seeds[part])
        return found

    def _parts(self, width: int) -> list[slice]:
        """The numbers of a row that belong to each size."""
        share = width // (self.longest * (self.longest + 1) // 2)
        ends = [share * size * (size + 1) // 2 for size in range(1, self.longest)] + [width]
        return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]

    def _pooled(self, tokens: list[str], size: int, seeds: np.ndarray) -> np.ndarray:
        """One part of the rows of some tokens: (n, d_i) float32."""
        hashes = [_rolling(token, size) for token in tokens]
        counts = np.array([len(one) for one in hashes])
        found = np.zeros((len(tokens), len(seeds)), dtype=np.float32)
        if not counts.any():
            return found
        products = np.concatenate(hashes)[:, None] * seeds % self.buckets
        half = self.buckets / 2
        values = np.where(products > half, products - self.buckets, products) / half
        has = counts > 0
        starts = np.cumsum(counts[has]) - counts[has]
        found[has] = np.add.reduceat(values, starts) / counts[has][:, None]
        return found


BASE, MODULUS = 31, 1_000_000_007
"""Of the rolling polynomial."""
BLOCK = 512
"""Tokens whose n-grams are hashed together: bounds memory."""


def _rolling(token: str, size: int) -> np.ndarray:
    """Hashes (m,) int64 below :data:`MODULUS` of a token's n-grams, in order: the sum of code points times powers of the base."""
    codes = np.array([ord(letter) for letter in token], dtype=np.int64)
    found = np.zeros(max(0, len(codes) - size + 1), dtype=np.int64)
    for place in range(size):
        found = (found * BASE + codes[place : len(codes) - size + 1 + place]) % MODULUS
    return found


def _table(rows: np.ndarray) -> nn.Module:
    """Rows as a module that looks them up and has no parameters."""
    import torch
    from torch import nn

    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("values", torch.from_numpy(rows), persistent=False)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return nn.functional.embedding(ids, self.values)  # type: ignore[arg-type]

    return Table()
