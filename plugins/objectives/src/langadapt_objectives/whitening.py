"""Whitening of sentence vectors."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from langadapt.contracts import Affine, Transform
from langadapt.errors import DataError


class Whitening(Transform):
    """Shift to mean zero, rotate and scale to unit covariance, keep the strongest dimensions.

    Su et al. 2021 (arXiv:2103.15316).  Directions whose variance is below `floor` of the strongest are dropped: scaling them up
    would blow noise up.
    """

    name: ClassVar[str] = "whitening"

    dimensions: Annotated[int, Field(ge=1)] | None = None
    """Dimensions to keep; None keeps all that carry variance."""
    floor: Annotated[float, Field(gt=0, lt=1)] = 1e-5

    def fit(self, vectors: np.ndarray) -> Affine:
        """(n, d) → the map ``v @ weight.T + bias`` to white vectors (n, d').

        Raises:
            DataError: fewer vectors than two.
        """
        if len(vectors) < 2:
            raise DataError("whitening needs at least two vectors")
        data = vectors.astype(np.float64)
        mean = data.mean(0)
        values, directions = np.linalg.eigh(np.cov(data - mean, rowvar=False))
        order = np.argsort(values)[::-1]
        kept = [i for i in order if values[i] > self.floor * values[order[0]]][: self.dimensions]
        weight = (directions[:, kept] / np.sqrt(values[kept])).T
        # eigh fixes a direction up to its sign: the largest entry is made positive, so the same data give the same map.
        weight *= np.sign(weight[np.arange(len(kept)), np.abs(weight).argmax(1)])[:, None]
        return Affine(weight.astype(np.float32), (-weight @ mean).astype(np.float32))
