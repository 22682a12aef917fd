"""The optimiser of the core, and the parameter groups every optimiser gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from langadapt.contracts.training import Optimizer
from langadapt.errors import StageFailed

if TYPE_CHECKING:
    import torch
    from torch import nn


class AdamW(Optimizer):
    """AdamW with bias correction, fused (Loshchilov & Hutter 2019, arXiv:1711.05101)."""

    name: ClassVar[str] = "adamw"

    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    epsilon: Annotated[float, Field(gt=0)] = 1e-8

    def build(self, groups: list[dict[str, Any]], learning_rate: float) -> torch.optim.Optimizer:
        from torch.optim import AdamW as TorchAdamW

        return TorchAdamW(groups, lr=learning_rate, betas=(self.beta1, self.beta2), eps=self.epsilon, fused=True)


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable weights in two groups: no decay on biases, norms and tensors of which some rows must stay (``decays = False``).

    Raises:
        StageFailed: nothing is trainable.
    """
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for parameter in module.parameters():
        if parameter.requires_grad:
            (decayed if parameter.ndim >= 2 and getattr(parameter, "decays", True) else plain).append(parameter)
    if not decayed and not plain:
        raise StageFailed("no weight is trainable", hint="Check the stage's 'adaptation'.")
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
