"""Poolers of the core: mean and first token, both computed in float32."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field

from langadapt.contracts.encoder import EncoderSpec, States
from langadapt.contracts.vectors import Need, Pooler
from langadapt.errors import ModelError


class Mean(Pooler):
    """Mean of the last layer's states over real tokens (Reimers & Gurevych 2019, arXiv:1908.10084).."""

    name: ClassVar[str] = "mean"
    sentence_transformers: ClassVar[str | None] = "mean"

    def pool(self, states: States, weights: Any = None) -> torch.Tensor:
        real = states.mask.unsqueeze(-1).float()
        return (states.last.float() * real).sum(1) / real.sum(1).clamp(min=1.0)


class LayerMean(Pooler):
    """Mean of one layer's states over real tokens: of an encoder that was not trained for sentences, rarely the last is best
    (Hosseini, Munia & Khan 2023, 2023.findings-emnlp.1030).
    """

    name: ClassVar[str] = "layer-mean"
    needs: ClassVar[frozenset[Need]] = frozenset({"layers"})

    layer: Annotated[int, Field(ge=0)]
    """0 is what goes into the first block."""

    def width(self, spec: EncoderSpec) -> int:
        if self.layer > spec.layers:
            raise ModelError(f"layer {self.layer} is to be pooled, and '{spec.architecture}' has {spec.layers}")
        return spec.width

    def pool(self, states: States, weights: Any = None) -> torch.Tensor:
        assert states.layers is not None
        real = states.mask.unsqueeze(-1).float()
        return (states.layers[self.layer].float() * real).sum(1) / real.sum(1).clamp(min=1.0)

    def layer_weights(self, spec: EncoderSpec, weights: Any = None) -> list[float]:
        return [float(i == self.layer) for i in range(spec.layers + 1)]


class Cls(Pooler):
    """State of the first token of the last layer (Devlin et al. 2019, arXiv:1810.04805)."""

    name: ClassVar[str] = "cls"
    sentence_transformers: ClassVar[str | None] = "cls"

    def pool(self, states: States, weights: Any = None) -> torch.Tensor:
        return states.last[:, 0].float()
