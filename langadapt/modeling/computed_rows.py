"""Input rows that a module computes from tokens' spellings, while an encoder trains; a plain matrix again before it is saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from langadapt.errors import ModelError
from langadapt.modeling.heads import output_layer, separate_biases

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class ComputedRows(nn.Embedding):
    """Stands where the matrix of input rows stood.

    `weight` is no parameter: it holds the rows as they were computed last, and rows that belong to no token as they were.

    Args:
        plain: the matrix in whose place it stands.
        rows: ids (…) → rows (…, d); kept only if it learns, for its rows are known otherwise.
        size: tokens of the vocabulary; the matrix may have more rows.
    """

    def __init__(self, plain: nn.Embedding, rows: nn.Module, size: int) -> None:
        super().__init__(plain.num_embeddings, plain.embedding_dim, device="meta")
        before = plain.weight.detach().clone()
        del self.weight
        self.register_buffer("weight", before, persistent=False)
        self.rows: nn.Module | None = rows.to(before.device)
        self.size = size
        self.compute()
        if not any(True for _ in rows.parameters()):
            self.rows = None

    @torch.no_grad()
    def compute(self) -> None:
        """Compute all rows anew."""
        if self.rows is None:
            return
        for start in range(0, self.size, BLOCK):
            ids = torch.arange(start, min(start + BLOCK, self.size), device=self.weight.device)
            self.weight[ids] = self.rows(ids).to(self.weight)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        looked_up = nn.functional.embedding(ids, self.weight)
        if self.rows is None:
            return looked_up
        own = ids < self.size  # rows without a token are no business of the module's
        found: torch.Tensor = torch.where(own[..., None], self.rows(ids.clamp(max=self.size - 1)), looked_up)
        return found


BLOCK = 4096
"""Rows computed at a time."""


def install(model: PreTrainedModel, rows: nn.Module, size: int) -> None:
    """Let a module compute the input rows; output rows that were tied to them become a matrix of their own.

    Raises:
        ModelError: the architecture's input layer does more than look rows up.
    """
    plain: Any = model.get_input_embeddings()
    if not isinstance(plain, ComputedRows) and type(plain) is not nn.Embedding:
        raise ModelError(
            f"the input layer of '{model.config.model_type}' is a {type(plain).__name__}, which does more than look rows up",
            hint="Compute rows for a base of another architecture.",
        )
    decoder: Any = output_layer(model)[0] if model.base_model is not model else None
    if decoder is not None and decoder.weight is plain.weight:
        decoder.weight = nn.Parameter(plain.weight.detach().clone())
    model.config.tie_word_embeddings = False
    computed = ComputedRows(plain, rows, size)
    model.set_input_embeddings(computed)
    # The rows follow from the module's weights, which every process has: nothing of them is sent around at each step.
    name = next(name for name, module in model.named_modules() if module is computed)
    model._ddp_params_and_buffers_to_ignore = [f"{name}.weight"]  # type: ignore[assignment]


def fold(model: PreTrainedModel) -> None:
    """Put the computed rows back as a plain matrix; nothing happens to an encoder that has one."""
    computed: Any = model.get_input_embeddings()
    if not isinstance(computed, ComputedRows):
        return
    computed.compute()
    count, width = computed.weight.shape
    model.set_input_embeddings(nn.Embedding(count, width, _weight=computed.weight.detach().clone()))
    if model.base_model is not model:  # transformers 5 unties the places of a bias with the rows, and reads each from the file
        separate_biases(model)
