"""A learnt mix of all layers."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from langadapt.contracts import EncoderSpec, Need, Pooler, States


class Mix(nn.Module):
    """One logit a layer, and one factor for the whole."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(layers))
        self.factor = nn.Parameter(torch.ones(()))

    def shares(self) -> torch.Tensor:
        """Weights of the layers, (L+1,)."""
        return self.factor * self.logits.softmax(0)


class LayerMix(Pooler):
    """Mean over real tokens of ``γ · Σ softmax(w)ⱼ hⱼ`` over the embeddings and all layers, w and γ learnt with the rest.

    BERMo (Kodge & Roy 2021, arXiv:2110.15802) takes the mix from ELMo (Peters et al. 2018, arXiv:1802.05365).  Training starts at equal
    shares and γ = 1, as ELMo's does.
    """

    name: ClassVar[str] = "layer-mix"
    needs: ClassVar[frozenset[Need]] = frozenset({"layers"})

    def build(self, spec: EncoderSpec) -> nn.Module:
        return Mix(spec.layers + 1)

    def pool(self, states: States, weights: Any = None) -> torch.Tensor:
        assert states.layers is not None
        shares = weights.shares()
        mixed = sum(share * layer.float() for share, layer in zip(shares, states.layers, strict=True))
        real = states.mask.unsqueeze(-1).float()
        found: torch.Tensor = (mixed * real).sum(1) / real.sum(1).clamp(min=1.0)
        return found

    def layer_weights(self, spec: EncoderSpec, weights: Any = None) -> list[float]:
        found: list[float] = weights.shares().detach().cpu().tolist()
        return found
