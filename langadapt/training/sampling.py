"""Samplers of the core: random batches, and batches of rows of similar length."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from langadapt.contracts.training import RowsView, Sampler


class Random(Sampler):
    """Every batch by chance."""

    name: ClassVar[str] = "random"

    def order(self, rows: RowsView, batch_size: int, epoch: int, seed: int) -> np.ndarray:
        return epoch_order(len(rows), epoch, seed)


class Bucketed(Sampler):
    """Rows of similar length share a batch, so that padding nearly vanishes (see :func:`bucketed`).

    Not for objectives with in-batch negatives: negatives of the anchor's own length give nothing away, but those of other batches never
    meet it, and the model learns to tell texts by length where batches mix.
    """

    name: ClassVar[str] = "bucketed"

    mega_batch: Annotated[int, Field(ge=1)] = 16
    """Batches shuffled together and cut by length; 1 keeps every batch random."""

    def order(self, rows: RowsView, batch_size: int, epoch: int, seed: int) -> np.ndarray:
        order = epoch_order(len(rows), epoch, seed)
        return bucketed(order, rows.lengths(), batch_size, self.mega_batch, seed, epoch)


def epoch_order(rows: int, epoch: int, seed: int) -> np.ndarray:
    """The shuffled row order of one epoch, the same on every machine."""
    return np.random.default_rng([seed, epoch]).permutation(rows)


def bucketed(order: np.ndarray, lengths: np.ndarray, batch_size: int, mega: int, seed: int, epoch: int) -> np.ndarray:
    """A shuffled order cut anew so that the rows of a batch have similar lengths.

    The order is taken `mega` batches at a time; inside such a mega-batch rows are sorted by length and cut into batches, and the
    batches are shuffled.  A row still meets others by chance from epoch to epoch, and padding nearly vanishes.  The last, short batch
    of the epoch stays last.
    """
    whole = len(order) // batch_size * batch_size
    rng = np.random.default_rng([seed, epoch, 1])
    parts = []
    for start in range(0, whole, mega * batch_size):
        chunk = order[start : min(start + mega * batch_size, whole)]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        parts.append(rng.permutation(chunk.reshape(-1, batch_size)).reshape(-1))
    return np.concatenate([*parts, order[whole:]])
