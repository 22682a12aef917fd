"""Top layers that begin anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from langadapt.contracts import Adaptation
from langadapt.contracts.checkpoints import layer_stack
from langadapt.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class ReinitTop(Adaptation):
    """Every weight trains, and the top `layers` begin anew: what pretraining left there is said to stand in the way of small data.

    Zhang et al. 2021 (arXiv:2006.05987); authors' code: asappresearch/revisit-bert-finetuning.  As there, linear maps and embeddings are
    drawn from N(0, initializer_range²), biases are zero, normalisations are the identity.  BERT's pooling layer, which the paper begins
    anew too, is not read by any pooler here.
    """

    name: ClassVar[str] = "reinit-top"

    layers: Annotated[int, Field(ge=1)] = 1
    """How many, from the top; the paper tries one to six of BERT-large's 24."""

    def attach(self, model: PreTrainedModel) -> None:
        """Draw the top layers anew with torch's generator, which the stage has seeded.

        Raises:
            ModelError: the encoder has fewer layers, or is none whose weights begin as a normal distribution.
        """
        stack = layer_stack(model)
        if self.layers >= len(stack):
            raise ModelError(f"reinit-top: {self.layers} layers are to begin anew, and the encoder has {len(stack)}: nothing would be kept")
        spread = getattr(model.config, "initializer_range", None)
        if not isinstance(spread, float):
            raise ModelError(f"reinit-top: '{model.config.model_type}' does not say how its weights are drawn (initializer_range)")
        model.requires_grad_(True)
        for layer in stack[len(stack) - self.layers :]:
            for module in layer.modules():
                _begin(module, spread)


def _begin(module: Any, spread: float) -> None:
    import torch
    from torch import nn

    with torch.no_grad():
        norm = type(module).__name__.endswith("Norm")
        for name, weight in module.named_parameters(recurse=False):
            if name == "bias":
                weight.zero_()
            elif norm:
                weight.fill_(1.0)
            elif isinstance(module, (nn.Linear, nn.Embedding)):
                weight.normal_(0.0, spread)
            else:
                raise ModelError(f"reinit-top: no rule says how '{type(module).__name__}.{name}' begins")
