"""Adaptations of the core: train everything, or freeze a part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from langadapt.contracts.training import Adaptation
from langadapt.errors import ModelError
from langadapt.modeling.heads import output_layer
from langadapt.modeling.layers import layer_stack

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Full(Adaptation):
    """Every weight trains."""

    name: ClassVar[str] = "full"
    mergeable: ClassVar[bool] = True

    def attach(self, model: PreTrainedModel) -> None:
        model.requires_grad_(True)


class Freeze(Adaptation):
    """A part of the weights trains, the rest stays as it was.

    ``train: embeddings`` trains the input embeddings, the output rows (tied to them or not) and the output bias: the first stage after
    a vocabulary was replaced.  ``train: new-rows`` trains the rows of new tokens alone, in input and output, and their biases; rows
    that were copied stay bit for bit.  With both, a masked-LM head that the checkpoint lacked trains along.  ``train: body`` trains
    all but the input embeddings.  ``train: top`` trains the top `layers` layers and the head.
    """

    name: ClassVar[str] = "freeze"
    version: ClassVar[str] = "3"
    mergeable: ClassVar[bool] = True

    train: Literal["embeddings", "new-rows", "body", "top"] = "top"
    layers: Annotated[int, Field(ge=1)] = 2

    @property
    def new_rows(self) -> bool:
        """Whether the stage is to train the encoder's new rows alone: only it knows which they are."""
        return self.train == "new-rows"

    def attach(self, model: PreTrainedModel) -> None:
        embeddings = model.get_input_embeddings()
        if self.train in ("embeddings", "new-rows"):
            model.requires_grad_(False)
            embeddings.requires_grad_(True)
            for part in output_layer(model) if self.train == "embeddings" else ():
                if part is not None:
                    part.requires_grad_(True)
            for weight in model.parameters():
                if getattr(weight, "fresh", False):  # a head that no checkpoint had is noise until it trains
                    weight.requires_grad_(True)
        elif self.train == "body":
            model.requires_grad_(True)
            embeddings.requires_grad_(False)
        else:
            stack = layer_stack(model)
            if self.layers > len(stack):
                raise ModelError(f"freeze: {self.layers} layers are to train, but the encoder has {len(stack)}")
            model.requires_grad_(True)
            model.base_model.requires_grad_(False)
            for layer in stack[len(stack) - self.layers :]:
                layer.requires_grad_(True)
