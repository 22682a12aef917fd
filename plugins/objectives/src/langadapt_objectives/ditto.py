"""Tokens weighted by how much one attention head lets them look at themselves."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field

from langadapt.contracts import EncoderSpec, Need, Pooler, States
from langadapt.errors import ModelError


class Ditto(Pooler):
    """Diagonal attention pooling: ``Σᵢ Aᵢᵢ hᵢ`` over real tokens, A being the attention map of one head (Chen et al. 2023,
    arXiv:2305.10786).  Nothing is trained: the diagonal is large on words that carry the meaning.

    As in the authors' code the sum is not divided by the weights', so that lengths of vectors mean nothing and cosines are to be compared.
    Their choices of head: BERT-base 1-10 (the default), RoBERTa-base 1-5, ELECTRA-base 1-11; for another encoder, compare heads on a
    dev set (``langadapt evaluate`` of the stages that load it with each).
    """

    name: ClassVar[str] = "ditto"
    needs: ClassVar[frozenset[Need]] = frozenset({"layers", "attentions"})

    layer: Annotated[int, Field(ge=1)] = 1
    """Block whose attention is read, counted from 1."""
    head: Annotated[int, Field(ge=1)] = 10
    """Head of that block, counted from 1."""
    states: Literal["first-last", "last"] = "first-last"
    """What is summed: the mean of the embeddings and the last layer, or the last layer."""

    def width(self, spec: EncoderSpec) -> int:
        if self.layer > spec.layers or self.head > spec.heads:
            raise ModelError(
                f"ditto reads head {self.layer}-{self.head}, and '{spec.architecture}' has {spec.layers} layers of {spec.heads} heads",
                hint="Choose others: pooler={use: ditto, layer: …, head: …}.",
            )
        return spec.width

    def pool(self, states: States, weights: Any = None) -> torch.Tensor:
        assert states.layers is not None
        assert states.attentions is not None
        summed = states.last.float()
        if self.states == "first-last":
            summed = (states.layers[0].float() + summed) / 2
        own = states.attentions[self.layer - 1][:, self.head - 1].diagonal(dim1=1, dim2=2).float()
        return (summed * (own * states.mask).unsqueeze(-1)).sum(1)
