"""Batches of one cluster each."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, ClassVar

import numpy as np

from langadapt.contracts import RowsView, Sampler


class Clusters(Sampler):
    """Every batch from one cluster, so that in-batch negatives are alike and hard (cluster batches; the clusters are a column, which the
    annotator ``clusters`` computes).

    Rows are shuffled inside their cluster and cut into batches, and the batches are shuffled; what is left of the clusters, less than
    a batch of each, makes batches of neighbouring clusters: choose few enough clusters that most hold several batches.
    """

    name: ClassVar[str] = "clusters"

    column: str = "cluster"

    def reads(self) -> tuple[str, ...]:
        return (self.column,)

    def order(self, rows: RowsView, batch_size: int, epoch: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng([seed, epoch])
        members: dict[Any, list[int]] = defaultdict(list)
        for row, cluster in enumerate(rows.values(self.column)):
            members[cluster].append(row)
        batches: list[np.ndarray] = []
        rest: list[int] = []
        for cluster in sorted(members, key=str):
            mine = rng.permutation(members[cluster])
            whole = len(mine) // batch_size * batch_size
            batches += list(mine[:whole].reshape(-1, batch_size))
            rest += mine[whole:].tolist()
        left = np.array(rest, dtype=np.int64)  # cluster by cluster: neighbours stay together
        whole = len(left) // batch_size * batch_size
        batches += list(left[:whole].reshape(-1, batch_size))
        shuffled = [batches[i] for i in rng.permutation(len(batches))]
        return np.concatenate([*shuffled, left[whole:]]).astype(np.int64)
