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
    """Mean over real tokens of the mean of any set of layers: of an encoder that was not trained for sentences, rarely the last alone is
    best (Huang et al. 2021, WhiteningBERT, arXiv:2104.01767: layers 1 and 12; Hosseini, Munia & Khan 2023, 2023.findings-emnlp.1030).
    """

    name: ClassVar[str] = "layer-mean"
    needs: ClassVar[frozenset[Need]] = frozenset({"layers"})

    layers: Annotated[list[int], Field(min_length=1)]
    """0 is what goes into the first block, 1 what comes out of it, -1 the last."""

    def width(self, spec: EncoderSpec) -> int:
        for layer in self.layers:
            if not -spec.layers - 1 <= layer <= spec.layers:
                raise ModelError(f"layer {layer} is to be pooled, and '{spec.architecture}' has {spec.layers}")
        return spec.width

    def pool(self, states: States, weights: Any = None) -> torch.Tensor:
        assert states.layers is not None
        mixed = torch.stack([states.layers[layer].float() for layer in self.layers]).mean(0)
        real = states.mask.unsqueeze(-1).float()
        return (mixed * real).sum(1) / real.sum(1).clamp(min=1.0)

    def layer_weights(self, spec: EncoderSpec, weights: Any = None) -> list[float]:
        shares = [0.0] * (spec.layers + 1)
        for layer in self.layers:
            shares[layer] += 1 / len(self.layers)
        return shares


class EveryLayer(Pooler):
    """Means over real tokens of every layer, one behind the other, what goes into the first block first: (layers + 1) × d in one pass."""

    name: ClassVar[str] = "every-layer"
    needs: ClassVar[frozenset[Need]] = frozenset({"layers"})

    def width(self, spec: EncoderSpec) -> int:
        return (spec.layers + 1) * spec.width

    def pool(self, states: States, weights: Any = None) -> torch.Tensor:
        assert states.layers is not None
        real = states.mask.unsqueeze(-1).float()
        count = real.sum(1).clamp(min=1.0)
        return torch.cat([(layer.float() * real).sum(1) / count for layer in states.layers], -1)


class Cls(Pooler):
    """State of the first token of the last layer (Devlin et al. 2019, arXiv:1810.04805)."""

    name: ClassVar[str] = "cls"
    sentence_transformers: ClassVar[str | None] = "cls"

    def pool(self, states: States, weights: Any = None) -> torch.Tensor:
        return states.last[:, 0].float()
