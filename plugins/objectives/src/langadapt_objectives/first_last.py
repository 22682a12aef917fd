"""Mean of the first and the last layer."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch

from langadapt.contracts import EncoderSpec, Need, Pooler, States


class FirstLastMean(Pooler):
    """Mean over real tokens of the mean of two layers: the first, whose states still tell words apart by themselves, and the last.

    Li et al. 2020 (BERT-flow, arXiv:2011.05864) and Su et al. 2021 (whitening, arXiv:2103.15316) pool untrained encoders so.  Papers call
    two things the first layer: what goes into the first block (``embeddings``; SimCSE, Ditto) and what comes out of it (``block``;
    BERT-flow).
    """

    name: ClassVar[str] = "first-last-mean"
    needs: ClassVar[frozenset[Need]] = frozenset({"layers"})

    first: Literal["embeddings", "block"] = "embeddings"

    def pool(self, states: States, weights: Any = None) -> torch.Tensor:
        assert states.layers is not None
        both = (states.layers[0 if self.first == "embeddings" else 1].float() + states.last.float()) / 2
        real = states.mask.unsqueeze(-1).float()
        return (both * real).sum(1) / real.sum(1).clamp(min=1.0)

    def layer_weights(self, spec: EncoderSpec, weights: Any = None) -> list[float]:
        shares = [0.0] * (spec.layers + 1)
        shares[0 if self.first == "embeddings" else 1] += 0.5
        shares[-1] += 0.5
        return shares
