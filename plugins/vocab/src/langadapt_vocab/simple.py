"""Baselines: random rows, and copying what both vocabularies share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from langadapt.contracts import Context, Mixture, Vocab, VocabInit
from langadapt_vocab.shared import shared_ids, sparse


class Random(VocabInit):
    """Rows drawn anew: normal, with the old rows' mean and deviation per dimension.  The baseline.

    Special tokens are copied by role: a random padding or mask row would measure something else.
    """

    name: ClassVar[str] = "random"
    version: ClassVar[str] = "2"

    copy_shared: bool = False
    """Copy the rows of tokens that both vocabularies have, and draw the others alone."""

    def mixture(self, old: Vocab, new: Vocab, texts: Iterable[str] | None, ctx: Context) -> Mixture:
        special = {new.special[role]: old.special[role] for role in new.special if role in old.special}
        copied = shared_ids(old, new) if self.copy_shared else special
        rows = [[copied[i]] if i in copied else [] for i in range(len(new.tokens))]
        missing = [i for i, row in enumerate(rows) if not row]
        return Mixture(sparse(rows, len(old.tokens)), _words(rows, "random"), drawn(old, missing, ctx))


class Mean(VocabInit):
    """Copy shared tokens; every other row is drawn from the normal distribution with the old rows' mean and covariance.

    Hewitt 2021 (*Initializing new word embeddings for pretrained language models*): such rows change the old logits little.
    """

    name: ClassVar[str] = "mean"
    version: ClassVar[str] = "2"

    def mixture(self, old: Vocab, new: Vocab, texts: Iterable[str] | None, ctx: Context) -> Mixture:
        assert old.rows is not None
        shared = shared_ids(old, new)
        rows = [[shared[i]] if i in shared else [] for i in range(len(new.tokens))]
        missing = [i for i, row in enumerate(rows) if not row]
        mean, covariance = moments(old.rows)
        # Eigenvectors and not Cholesky: with fewer old rows than dimensions the covariance is singular.
        values, vectors = np.linalg.eigh(covariance)
        spread = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
        found = _normal(len(missing), mean, spread, ctx)
        return Mixture(sparse(rows, len(old.tokens)), _words(rows, "random"), dict(zip(missing, found, strict=True)))


class Overlap(VocabInit):
    """Copy the rows of shared tokens; every other row starts at the mean of the old ones, plus a little noise.

    The script-wise simplification of FOCUS that Downey et al. 2023 (arXiv:2309.04679) find hard to beat.  The noise (a hundredth
    of the old deviation) keeps new rows from moving as one.
    """

    name: ClassVar[str] = "overlap"
    version: ClassVar[str] = "2"

    def mixture(self, old: Vocab, new: Vocab, texts: Iterable[str] | None, ctx: Context) -> Mixture:
        shared = shared_ids(old, new)
        rows = [[shared[i]] if i in shared else [] for i in range(len(new.tokens))]
        missing = [i for i, row in enumerate(rows) if not row]
        return Mixture(sparse(rows, len(old.tokens)), _words(rows, "mean of all"), drawn(old, missing, ctx, spread=0.01))


def drawn(old: Vocab, ids: list[int], ctx: Context, spread: float = 1.0) -> dict[int, np.ndarray]:
    """Normal rows for `ids` around the mean of the old rows, `spread` times their deviation wide."""
    assert old.rows is not None
    if not ids:
        return {}
    mean, variance = moments(old.rows, diagonal=True)
    return dict(zip(ids, _normal(len(ids), mean, spread * np.sqrt(variance), ctx), strict=True))


CHUNK = 8192
"""Rows in double precision at once: a whole matrix would be twice its size again, or four times."""


def moments(rows: np.ndarray, diagonal: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and covariance (d, d) of rows (V, d), or the variances alone (d,), in float64 and bounded memory."""
    parts = range(0, len(rows), CHUNK)
    mean = sum((rows[i : i + CHUNK].sum(0, dtype=np.float64) for i in parts), np.zeros(rows.shape[1])) / len(rows)
    total = np.zeros(rows.shape[1:] if diagonal else (rows.shape[1], rows.shape[1]))
    for i in parts:
        centred = rows[i : i + CHUNK] - mean
        total += (centred**2).sum(0) if diagonal else centred.T @ centred
    return mean, total / (len(rows) if diagonal else max(len(rows) - 1, 1))


def _normal(count: int, mean: np.ndarray, spread: np.ndarray, ctx: Context) -> np.ndarray:
    """(count, d) float32 rows around a mean; `spread` is a deviation (d,), or a root of the covariance (d, d)."""
    rng = ctx.rng("vocab-init")
    found = np.empty((count, len(mean)), dtype=np.float32)
    for i in range(0, count, CHUNK):
        noise = rng.standard_normal((min(CHUNK, count - i), len(mean)))
        found[i : i + CHUNK] = mean + (noise * spread if spread.ndim == 1 else noise @ spread)
    return found


def _words(rows: list[list[int]], other: str) -> list[str]:
    return ["copied" if row else other for row in rows]
