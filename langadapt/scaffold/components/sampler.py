"""Which rows share a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from langadapt.contracts import RowsView, Sampler

if TYPE_CHECKING:
    import numpy as np


class Example(Sampler):
    """Rows of one length share a batch; the batches come in random order, another one each epoch."""

    name: ClassVar[str] = "example"

    def order(self, rows: RowsView, batch_size: int, epoch: int, seed: int) -> np.ndarray:
        import numpy as np

        by_length = np.argsort(rows.lengths(), kind="stable")
        batches = [by_length[start : start + batch_size] for start in range(0, len(by_length), batch_size)]
        last = batches.pop() if len(by_length) % batch_size else by_length[:0]  # a short batch stands at the end
        np.random.default_rng((seed, epoch)).shuffle(batches)
        return np.concatenate([*batches, last]).astype(np.int64)
