"""Input rows that a module computes from tokens' spellings, while an encoder trains; a plain matrix again before it is saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from langadapt.modeling.heads import output_layer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class ComputedRows(nn.Embedding):
    """Stands where the matrix of input rows stood.

    `weight` is no parameter: it holds the rows as they were computed last, and rows that belong to no token as they were.

    Args:
        plain: the matrix in whose place it stands.
        rows: ids (…) → rows (…, d).
        size: tokens of the vocabulary; the matrix may have more rows.
    """

    def __init__(self, plain: nn.Embedding, rows: nn.Module, size: int) -> None:
        super().__init__(plain.num_embeddings, plain.embedding_dim, device="meta")
        before = plain.weight.detach().clone()
        del self.weight
        self.register_buffer("weight", before, persistent=False)
        self.rows: nn.Module = rows.to(before.device)
        self.size = size
        self.learns = any(True for _ in rows.parameters())
        self.compute()

    @torch.no_grad()
    def compute(self) -> None:
        """Compute all rows anew."""
        for start in range(0, self.size, BLOCK):
            ids = torch.arange(start, min(start + BLOCK, self.size), device=self.weight.device)
            self.weight[ids] = self.rows(ids).to(self.weight)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.rows(ids) if self.learns else nn.functional.embedding(ids, self.weight)
        return found


BLOCK = 4096
"""Rows computed at a time."""


def install(model: PreTrainedModel, rows: nn.Module, size: int) -> None:
    """Let a module compute the input rows; output rows that were tied to them become a matrix of their own."""
    plain: Any = model.get_input_embeddings()
    decoder: Any = output_layer(model)[0] if model.base_model is not model else None
    if decoder is not None and decoder.weight is plain.weight:
        decoder.weight = nn.Parameter(plain.weight.detach().clone())
    model.config.tie_word_embeddings = False
    model.set_input_embeddings(ComputedRows(plain, rows, size))


def fold(model: PreTrainedModel) -> None:
    """Put the computed rows back as a plain matrix; nothing happens to an encoder that has one."""
    computed: Any = model.get_input_embeddings()
    if isinstance(computed, ComputedRows):
        computed.compute()
        count, width = computed.weight.shape
        model.set_input_embeddings(nn.Embedding(count, width, _weight=computed.weight.detach().clone()))
