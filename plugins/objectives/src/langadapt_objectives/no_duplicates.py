"""Batches in which no text occurs twice."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from langadapt.contracts import RowsView, Sampler


class NoDuplicates(Sampler):
    """Random batches without two rows that share a text: with in-batch negatives a shared text would be its own negative.

    As sentence-transformers' sampler of that name (Reimers & Gurevych 2019), a row that would repeat a text waits for the next batch.
    No row is lost: the last ones, which find no batch of their own, share what is left, and objectives that mask repeated texts
    (``multiple-negatives``) mask them there.
    """

    name: ClassVar[str] = "no-duplicates"

    def order(self, rows: RowsView, batch_size: int, epoch: int, seed: int) -> np.ndarray:
        waiting = np.random.default_rng([seed, epoch]).permutation(len(rows)).tolist()
        texts = [frozenset(rows.texts_of(row)) for row in range(len(rows))]
        order: list[int] = []
        while waiting:
            batch: list[int] = []
            left: list[int] = []
            seen: set[tuple[int, ...]] = set()
            for i, row in enumerate(waiting):
                if len(batch) == batch_size:
                    left += waiting[i:]
                    break
                if seen.isdisjoint(texts[row]):
                    batch.append(row)
                    seen |= texts[row]
                else:
                    left.append(row)
            if len(batch) < batch_size:  # whatever is left repeats a text of this batch: it has to go somewhere
                batch, left = batch + left, []
            order += batch
            waiting = left
        return np.array(order, dtype=np.int64)
