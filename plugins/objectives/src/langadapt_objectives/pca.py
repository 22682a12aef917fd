"""Vectors along their directions of greatest variance."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from langadapt.contracts import Affine, Transform
from langadapt.errors import DataError


class Pca(Transform):
    """Keep the directions of greatest variance (Pearson 1901; Hotelling 1933), unscaled: distances among what is kept stay as they were.

    ``whitening`` scales each direction to unit variance besides.
    """

    name: ClassVar[str] = "pca"

    dimensions: Annotated[int, Field(ge=1)]
    """How many to keep."""
    center: bool = True
    """Move the mean to zero.  False keeps the cosines' origin, as where the directions become a layer without bias."""

    def fit(self, vectors: np.ndarray) -> Affine:
        """(n, d) → the map ``v @ weight.T + bias`` to (n, `dimensions`).

        Raises:
            DataError: fewer vectors, or fewer of their own dimensions, than are to be kept.
        """
        if min(len(vectors), vectors.shape[1]) < max(2, self.dimensions):
            raise DataError(f"{self.dimensions} directions cannot be found in {len(vectors):,} vectors of {vectors.shape[1]} dimensions")
        data = vectors.astype(np.float64)
        mean = data.mean(0)
        _, directions = np.linalg.eigh(np.cov(data, rowvar=False))
        weight = directions[:, ::-1][:, : self.dimensions].T
        # A direction is fixed up to its sign: the largest entry is made positive, so the same data give the same map.
        weight = weight * np.sign(weight[np.arange(len(weight)), np.abs(weight).argmax(1)])[:, None]
        bias = -weight @ mean if self.center else np.zeros(len(weight))
        return Affine(weight.astype(np.float32), bias.astype(np.float32))
