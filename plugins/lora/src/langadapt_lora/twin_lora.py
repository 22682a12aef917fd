"""Two light modules on one frozen base: queries and documents are read differently."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from langadapt.errors import ModelError
from langadapt_lora import library
from langadapt_lora.lora import Lora

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class TwinLora(Lora):
    """A LoRA for queries and another for documents, on any layers, trained together; nothing is shared but the base.

    The paper's own way with two readers, which shares a part, is ``semi-siamese``.  The two begin as different random draws of the same
    form, both without effect.  Objectives that tell an anchor from its
    positive (``multiple-negatives``) train them; an evaluator with queries and documents uses each where it belongs.
    """

    name: ClassVar[str] = "twin-lora"
    mergeable: ClassVar[bool] = False
    roles: ClassVar[tuple[str, ...]] = ("query", "document")

    def attach(self, model: PreTrainedModel) -> None:
        model.requires_grad_(False)
        for role in self.roles:
            library.inject(model, self.config(model), inside(role))

    def activate(self, model: PreTrainedModel, role: str) -> None:
        """Let the module of one role act.

        Raises:
            ModelError: training with gradient checkpointing, which runs forward passes again after another role was activated.
        """
        if model.training and model.is_gradient_checkpointing:
            raise ModelError(
                f"'{self.name}' cannot be trained with gradient_checkpointing: what is computed again would meet the other role's module",
                hint="Switch gradient_checkpointing off, or use 'lora'.",
            )
        library.activate(model, inside(role))

    def save(self, model: PreTrainedModel, folder: Path) -> None:
        for role in self.roles:
            library.save(model, inside(role), folder / role)

    def load(self, model: PreTrainedModel, folder: Path) -> None:
        model.requires_grad_(False)
        for role in self.roles:
            library.restore(model, inside(role), folder / role)


def inside(role: str) -> str:
    """What peft calls a role's module.

    peft tells one adapter's weights from another's by their names alone, and many a base has modules called ``query``.
    """
    return f"role_{role}"
