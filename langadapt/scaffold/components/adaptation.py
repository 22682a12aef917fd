"""Which weights train."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from langadapt.contracts import Adaptation
from langadapt.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Example(Adaptation):
    """The biases alone (BitFit; Ben Zaken et al. 2022, arXiv:2106.10199)."""

    name: ClassVar[str] = "example"

    def attach(self, model: PreTrainedModel) -> None:
        model.requires_grad_(False)
        found = [weight for name, weight in model.named_parameters() if name.endswith(".bias")]
        if not found:
            raise ModelError(f"'{self.name}' trains biases, and a {model.config.model_type} has none", hint="Choose another adaptation.")
        for weight in found:
            weight.requires_grad_(True)
