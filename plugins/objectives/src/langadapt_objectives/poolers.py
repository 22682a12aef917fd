"""Poolers for decoders, whose later tokens alone have seen the whole text, and max."""

from __future__ import annotations

from typing import ClassVar

import torch

from langadapt.registry.component import Component


class Last(Component):
    """State of the last real token of the last layer (Neelakantan et al. 2022, arXiv:2201.10005).

    hidden: L+1 states (B, T, d); mask: (B, T), padding on the right → (B, d).
    """

    kind: ClassVar[str] = "pooler"
    name: ClassVar[str] = "last"
    sentence_transformers: ClassVar[str | None] = "lasttoken"

    def pool(self, hidden: tuple[torch.Tensor, ...], mask: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(len(mask), device=mask.device)
        return hidden[-1][rows, mask.sum(1) - 1].float()


class WeightedMean(Component):
    """Mean of the last layer's states weighted by position, 1 for the first token, 2 for the second … (SGPT; Muennighoff 2022,
    arXiv:2202.08904).
    """

    kind: ClassVar[str] = "pooler"
    name: ClassVar[str] = "weighted-mean"
    sentence_transformers: ClassVar[str | None] = "weightedmean"

    def pool(self, hidden: tuple[torch.Tensor, ...], mask: torch.Tensor) -> torch.Tensor:
        states = hidden[-1].float()
        weights = (mask * mask.cumsum(1)).float().unsqueeze(-1)  # places among the real tokens, wherever the padding stands
        return (states * weights).sum(1) / weights.sum(1)


class Max(Component):
    """Largest value of each dimension over the last layer's real tokens (Reimers & Gurevych 2019, arXiv:1908.10084)."""

    kind: ClassVar[str] = "pooler"
    name: ClassVar[str] = "max"
    sentence_transformers: ClassVar[str | None] = "max"

    def pool(self, hidden: tuple[torch.Tensor, ...], mask: torch.Tensor) -> torch.Tensor:
        return hidden[-1].float().masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).amax(1)
