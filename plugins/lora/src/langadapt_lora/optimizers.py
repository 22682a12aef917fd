"""Optimisers whose moments are kept in 8 bit, block by block (Dettmers et al. 2021, arXiv:2110.02861)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from langadapt.contracts import Optimizer

if TYPE_CHECKING:
    import torch


class AdamW8bit(Optimizer):
    """AdamW with 8-bit moments: 2 bytes a weight instead of 8.  Tensors under 4,096 values keep full moments."""

    name: ClassVar[str] = "adamw-8bit"

    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    epsilon: Annotated[float, Field(gt=0)] = 1e-8

    def build(self, groups: list[dict[str, Any]], learning_rate: float) -> torch.optim.Optimizer:
        import bitsandbytes as bnb

        found: torch.optim.Optimizer = bnb.optim.AdamW8bit(groups, lr=learning_rate, betas=(self.beta1, self.beta2), eps=self.epsilon)
        return found


class PagedAdamW8bit(AdamW8bit):
    """The same with moments in unified memory, which move to the host when a card runs full (QLoRA, arXiv:2305.14314)."""

    name: ClassVar[str] = "paged-adamw-8bit"

    def build(self, groups: list[dict[str, Any]], learning_rate: float) -> torch.optim.Optimizer:
        import bitsandbytes as bnb

        found: torch.optim.Optimizer = bnb.optim.PagedAdamW8bit(groups, lr=learning_rate, betas=(self.beta1, self.beta2), eps=self.epsilon)
        return found


class Lion8bit(Optimizer):
    """Lion (Chen et al. 2023, arXiv:2302.06675) with an 8-bit moment: 1 byte a weight.  Wants a third of AdamW's learning rate."""

    name: ClassVar[str] = "lion-8bit"

    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99

    def build(self, groups: list[dict[str, Any]], learning_rate: float) -> torch.optim.Optimizer:
        import bitsandbytes as bnb

        found: torch.optim.Optimizer = bnb.optim.Lion8bit(groups, lr=learning_rate, betas=(self.beta1, self.beta2))
        return found
