"""The first dimensions alone."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from langadapt.contracts import Affine, Transform
from langadapt.errors import DataError


class Truncate(Transform):
    """Keep the first `dimensions` of a vector: free for encoders that were trained for it (Matryoshka; Kusupati et al. 2022,
    arXiv:2205.13147), a loss for others.  Fitted to nothing; merged into the encoder's last linear map.
    """

    name: ClassVar[str] = "truncate"

    dimensions: Annotated[int, Field(ge=1)]

    def fit(self, vectors: np.ndarray) -> Affine:
        width = vectors.shape[1]
        if self.dimensions > width:
            raise DataError(f"{self.dimensions} dimensions cannot be kept of vectors that have {width}")
        return Affine(np.eye(self.dimensions, width, dtype=np.float32), np.zeros(self.dimensions, dtype=np.float32))
