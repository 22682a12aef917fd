"""Vectors as 8-bit integers."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from langadapt.contracts import Fitted, Transform
from langadapt.errors import DataError


class Steps(Fitted):
    """255 steps a dimension between the ends that were fitted."""

    def __init__(self, low: np.ndarray, step: np.ndarray) -> None:
        self.low, self.step = low, step
        self.width = len(low)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"low": self.low, "step": self.step}

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """(n, d) float32 → (n, d) int8; what lies outside the ends is cut at them."""
        steps = np.rint((vectors - self.low) / self.step) - 128
        found: np.ndarray = np.clip(steps, -128, 127).astype(np.int8)
        return found

    def floats(self, stored: np.ndarray) -> np.ndarray:
        found: np.ndarray = (stored.astype(np.float32) + 128) * self.step + self.low
        return found


class Int8(Transform):
    """A quarter of the memory: each dimension in 255 equal steps between two ends, fitted on vectors of the encoder's own texts.

    Scalar quantisation as vector indexes and sentence-transformers have it, whose ends are the smallest and largest value; `outside`
    leaves a share of the values at either end to be cut, which makes the steps of the rest finer.  ``encode`` gives int8 vectors then,
    and with ``normalize=True`` what they stand for.
    """

    name: ClassVar[str] = "int8"

    outside: Annotated[float, Field(ge=0, lt=0.5)] = 0.0

    def fit(self, vectors: np.ndarray) -> Steps:
        """Raises DataError for fewer vectors than two."""
        if len(vectors) < 2:
            raise DataError("8-bit steps need at least two vectors to find their ends")
        low, high = np.quantile(vectors, [self.outside, 1 - self.outside], axis=0).astype(np.float32)
        step = (high - low) / 255
        return Steps(low, np.where(step > 0, step, np.float32(1)).astype(np.float32))

    def restore(self, arrays: dict[str, np.ndarray]) -> Steps:
        return Steps(arrays["low"], arrays["step"])
