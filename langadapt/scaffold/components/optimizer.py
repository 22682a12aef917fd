"""How gradients become steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from langadapt.contracts import Optimizer

if TYPE_CHECKING:
    import torch


class Example(Optimizer):
    """Gradient descent with momentum."""

    name: ClassVar[str] = "example"

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9

    def build(self, groups: list[dict[str, Any]], learning_rate: float) -> torch.optim.Optimizer:
        import torch

        return torch.optim.SGD(groups, lr=learning_rate, momentum=self.momentum)
