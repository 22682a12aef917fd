"""Baselines: random rows, and copying what both vocabularies share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from langadapt.registry.component import Component, Context
from langadapt.registry.kinds import Mixture, Vocab
from langadapt_vocab.shared import shared_ids, sparse


class Random(Component):
    """Every row drawn anew: normal, with the old rows' mean and deviation per dimension.  The baseline.

    Special tokens are copied by role: a random padding or mask row would measure something else.
    """

    kind: ClassVar[str] = "vocab-init"
    name: ClassVar[str] = "random"

    def mixture(self, old: Vocab, new: Vocab, texts: Iterable[str] | None, ctx: Context) -> Mixture:
        special = {new.special[role]: old.special[role] for role in new.special if role in old.special}
        rows = [[special[i]] if i in special else [] for i in range(len(new.tokens))]
        missing = [i for i, row in enumerate(rows) if not row]
        return Mixture(sparse(rows, len(old.tokens)), _words(rows, "random"), drawn(old, missing, ctx))


class Mean(Component):
    """Copy shared tokens; every other row is drawn from the normal distribution with the old rows' mean and covariance.

    Hewitt 2021 (*Initializing new word embeddings for pretrained language models*): such rows change the old logits little.
    """

    kind: ClassVar[str] = "vocab-init"
    name: ClassVar[str] = "mean"

    def mixture(self, old: Vocab, new: Vocab, texts: Iterable[str] | None, ctx: Context) -> Mixture:
        assert old.rows is not None
        shared = shared_ids(old, new)
        rows = [[shared[i]] if i in shared else [] for i in range(len(new.tokens))]
        missing = [i for i, row in enumerate(rows) if not row]
        mean, covariance = old.rows.mean(0), np.cov(old.rows, rowvar=False)
        # Eigenvectors and not Cholesky: with fewer old rows than dimensions the covariance is singular.
        values, vectors = np.linalg.eigh(covariance)
        noise = ctx.rng("vocab-init").standard_normal((len(missing), len(mean)))
        found = (mean + (noise * np.sqrt(np.maximum(values, 0))) @ vectors.T).astype(np.float32)
        return Mixture(sparse(rows, len(old.tokens)), _words(rows, "random"), dict(zip(missing, found, strict=True)))


class Overlap(Component):
    """Copy the rows of shared tokens; every other row starts at the mean of the old ones, plus a little noise.

    The script-wise simplification of FOCUS that Downey et al. 2023 (arXiv:2309.04679) find hard to beat.  The noise (a hundredth
    of the old deviation) keeps new rows from moving as one.
    """

    kind: ClassVar[str] = "vocab-init"
    name: ClassVar[str] = "overlap"

    def mixture(self, old: Vocab, new: Vocab, texts: Iterable[str] | None, ctx: Context) -> Mixture:
        shared = shared_ids(old, new)
        rows = [[shared[i]] if i in shared else [] for i in range(len(new.tokens))]
        missing = [i for i, row in enumerate(rows) if not row]
        return Mixture(sparse(rows, len(old.tokens)), _words(rows, "mean of all"), drawn(old, missing, ctx, spread=0.01))


def drawn(old: Vocab, ids: list[int], ctx: Context, spread: float = 1.0) -> dict[int, np.ndarray]:
    """Normal rows for `ids` around the mean of the old rows, `spread` times their deviation wide."""
    assert old.rows is not None
    mean, deviation = old.rows.mean(0), old.rows.std(0)
    noise = ctx.rng("vocab-init").standard_normal((len(ids), old.rows.shape[1]))
    values = (mean + spread * deviation * noise).astype(np.float32)
    return dict(zip(ids, values, strict=True))


def _words(rows: list[list[int]], other: str) -> list[str]:
    return ["copied" if row else other for row in rows]
