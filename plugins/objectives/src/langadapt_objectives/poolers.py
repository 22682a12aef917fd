"""Poolers for decoders, whose later tokens alone have seen the whole text, and max."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from langadapt.contracts import Pooler, States


class Last(Pooler):
    """State of the last real token of the last layer (Neelakantan et al. 2022, arXiv:2201.10005)."""

    name: ClassVar[str] = "last"
    sentence_transformers: ClassVar[str | None] = "lasttoken"

    def pool(self, states: States, weights: Any = None) -> torch.Tensor:
        rows = torch.arange(len(states.mask), device=states.mask.device)
        return states.last[rows, states.mask.sum(1) - 1].float()


class WeightedMean(Pooler):
    """Mean of the last layer's states weighted by position, 1 for the first token, 2 for the second … (SGPT; Muennighoff 2022,
    arXiv:2202.08904).
    """

    name: ClassVar[str] = "weighted-mean"
    sentence_transformers: ClassVar[str | None] = "weightedmean"

    def pool(self, states: States, weights: Any = None) -> torch.Tensor:
        # Places among the real tokens, wherever the padding stands.
        places = (states.mask * states.mask.cumsum(1)).float().unsqueeze(-1)
        return (states.last.float() * places).sum(1) / places.sum(1)


class Max(Pooler):
    """Largest value of each dimension over the last layer's real tokens (Reimers & Gurevych 2019, arXiv:1908.10084)."""

    name: ClassVar[str] = "max"
    sentence_transformers: ClassVar[str | None] = "max"

    def pool(self, states: States, weights: Any = None) -> torch.Tensor:
        return states.last.float().masked_fill(states.mask.unsqueeze(-1) == 0, float("-inf")).amax(1)
