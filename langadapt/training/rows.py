"""Training some rows of the embeddings alone: the tokens that a vocabulary gained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from langadapt.errors import ModelError
from langadapt.modeling.heads import output_layer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def train_rows(model: PreTrainedModel, rows: np.ndarray) -> None:
    """Let only these rows of the input embeddings, the output rows and the output bias change; everything else is frozen, but for
    a head that the checkpoint lacked.

    Gradients of the other rows are zeroed, so that Adam's moments of them stay zero, and the tensors are kept out of weight decay:
    the other rows stay bit for bit.

    Args:
        rows: token ids, (n,).

    Raises:
        ModelError: there are none.
    """
    if not len(rows):
        raise ModelError("every token of this vocabulary was copied: there are no new rows to train", hint="Leave this stage out.")
    for weight in model.parameters():
        weight.requires_grad_(bool(getattr(weight, "fresh", False)))
    decoder, bias = output_layer(model)
    outputs = getattr(decoder, "weight", None)
    found = [model.get_input_embeddings().weight, outputs, bias]
    weights = {id(weight): weight for weight in found if isinstance(weight, torch.nn.Parameter)}
    for weight in weights.values():
        if getattr(weight, "fresh", False):
            continue
        mask = torch.zeros(len(weight), dtype=torch.bool)
        mask[torch.from_numpy(rows)] = True
        weight.requires_grad_(True)
        weight.register_hook(_Masked(mask))  # type: ignore[no-untyped-call]
        weight.decays = False  # type: ignore[attr-defined]


class _Masked:
    """Zero the gradient of all rows but some."""

    def __init__(self, mask: torch.Tensor) -> None:
        self.mask = mask

    def __call__(self, gradient: torch.Tensor) -> torch.Tensor:
        self.mask = self.mask.to(gradient.device)
        return gradient * self.mask.view(-1, *[1] * (gradient.ndim - 1))
