"""Poolers of the core: mean and first token, both computed in float32."""

from __future__ import annotations

from typing import ClassVar

import torch

from langadapt.registry.component import Component


class Mean(Component):
    """Mean of the last layer's states over real tokens (Reimers & Gurevych 2019, arXiv:1908.10084).

    hidden: L+1 states (B, T, d); mask: (B, T) → (B, d).
    """

    kind: ClassVar[str] = "pooler"
    name: ClassVar[str] = "mean"
    sentence_transformers: ClassVar[str | None] = "mean"

    def pool(self, hidden: tuple[torch.Tensor, ...], mask: torch.Tensor) -> torch.Tensor:
        states, weights = hidden[-1].float(), mask.unsqueeze(-1).float()
        return (states * weights).sum(1) / weights.sum(1).clamp(min=1.0)


class Cls(Component):
    """State of the first token of the last layer (Devlin et al. 2019, arXiv:1810.04805)."""

    kind: ClassVar[str] = "pooler"
    name: ClassVar[str] = "cls"
    sentence_transformers: ClassVar[str | None] = "cls"

    def pool(self, hidden: tuple[torch.Tensor, ...], mask: torch.Tensor) -> torch.Tensor:
        return hidden[-1][:, 0].float()
