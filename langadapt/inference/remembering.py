"""An encoder that makes the vector of a text once, however many tasks ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from langadapt.contracts.component import Log
from langadapt.errors import ModelError
from langadapt.inference.kept_vectors import FOLDER, KeptVectors
from langadapt.inference.passes import Passes

if TYPE_CHECKING:
    from langadapt.inference.bank import Lease
    from langadapt.inference.encoder import Encoder

LIMIT = 512 * 1024 * 1024
"""Bytes of vectors that are kept; what comes after them is made each time."""


@dataclass(frozen=True)
class RememberingPasses(Passes):
    """Passes that keep the vector of each sequence of tokens.  Rows of an adapter are not kept: who reads them is not in their tokens."""

    known: dict[bytes, np.ndarray] = field(default_factory=dict)
    kept: KeptVectors | None = None
    """Vectors of runs before."""

    def vectors(self, ids: Sequence[Sequence[int]], batch_tokens: int, progress: bool | Log, lease: Lease | None) -> np.ndarray:
        """One vector a sequence: (n, d) float32; those of one call are made together, as if none were known.

        Raises:
            ModelError: vectors that are no numbers, which no task could score.
        """
        if lease is not None:
            return super().vectors(ids, batch_tokens, progress, lease)
        keys = [np.asarray(one, np.int32).tobytes() for one in ids]
        places: dict[bytes, int] = {}
        for i, key in enumerate(keys):
            if key not in self.known:
                places.setdefault(key, i)
        made = self._made([ids[i] for i in places.values()], batch_tokens, progress)
        if broken := int((~np.isfinite(made)).any(1).sum()):
            raise ModelError(
                f"the encoder's vectors of {broken:,} of {len(made):,} texts are no numbers",
                hint="Its weights are damaged, or its training diverged: look at the losses, and train with a lower learning rate.",
            )
        fresh = dict(zip(places, made, strict=True))
        found = np.array([fresh[key] if key in fresh else self.known[key] for key in keys], np.float32).reshape(len(ids), self.module.width)
        if (len(self.known) + len(fresh)) * self.module.width * 4 <= LIMIT:
            self.known.update(fresh)
        return found

    def _made(self, ids: Sequence[Sequence[int]], batch_tokens: int, progress: bool | Log) -> np.ndarray:
        """Vectors that were not made in this run: of a run before, or new."""
        if self.kept is None or not ids:
            return super().vectors(ids, batch_tokens, progress, None)
        path = self.kept.path(ids, batch_tokens)
        found = self.kept.read(path, len(ids))
        if found is None:
            found = super().vectors(ids, batch_tokens, progress, None)
            if np.isfinite(found).all():
                self.kept.write(path, found)
        return found


def remember(encoder: Encoder, cache: Path | None = None) -> None:
    """Let an encoder keep what it makes from now on, while nothing trains its weights.

    Args:
        encoder: whose vectors are kept in memory.
        cache: a store's cache, where they are kept for the next run too; None keeps them for this one.
    """
    module, precision = encoder._passes.module, encoder._passes.precision
    kept = KeptVectors(cache / FOLDER, module, precision) if cache is not None else None
    encoder._passes = RememberingPasses(module, precision, kept=kept)
