"""Several encoders become one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from langadapt.contracts import Merger
from langadapt.errors import ModelError

if TYPE_CHECKING:
    import torch


class Example(Merger):
    """A point on the line from the first encoder to the second."""

    name: ClassVar[str] = "example"

    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Of the second."""

    def merge(self, weights: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        if len(weights) != 2:
            raise ModelError(f"'{self.name}' merges two encoders, and {len(weights)} are given")
        one, other = weights
        return {
            name: first.lerp(other[name], self.share) if first.is_floating_point() else first  # counters are the first's
            for name, first in one.items()
        }
