"""Vectors become other vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from langadapt.contracts import Affine, Transform

if TYPE_CHECKING:
    import numpy as np


class Example(Transform):
    """The mean of all vectors is taken off each."""

    name: ClassVar[str] = "example"

    def fit(self, vectors: np.ndarray) -> Affine:
        import numpy as np

        return Affine(np.eye(vectors.shape[1], dtype=np.float32), -vectors.mean(0).astype(np.float32))
