"""LoRA: the update of a weight matrix is the product of two thin ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from langadapt.contracts import LightAdaptation
from langadapt_lora import library
from langadapt_lora.targets import check_targets, find_targets

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "default"
"""What peft calls a lone adapter."""


class Lora(LightAdaptation):
    """Low-rank updates ``B·A·alpha/r`` of linear layers (Hu et al. 2021, arXiv:2106.09685).

    `rslora` scales by alpha/√r, which keeps large ranks learning (Kalajdzievski 2023, arXiv:2312.03732); `dora` learns lengths and
    directions of the weight's rows apart (Liu et al. 2024, arXiv:2402.09353).

    `targets` are ``attention`` (queries, keys, values), ``all`` (every linear layer of a block) or endings of module names.
    """

    name: ClassVar[str] = "lora"
    mergeable: ClassVar[bool] = True
    library: ClassVar[str] = "peft"

    r: Annotated[int, Field(ge=1)] = 8
    alpha: Annotated[float, Field(gt=0)] = 16.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Literal["attention", "all"] | list[str] = "all"
    rslora: bool = False
    dora: bool = False

    def attach(self, model: PreTrainedModel) -> None:
        model.requires_grad_(False)
        library.inject(model, self.config(model), NAME)

    def save(self, model: PreTrainedModel, folder: Path) -> None:
        library.save(model, NAME, folder)

    def load(self, model: PreTrainedModel, folder: Path) -> None:
        model.requires_grad_(False)
        library.restore(model, NAME, folder)

    def config(self, model: PreTrainedModel) -> Any:
        """peft's configuration for a model.

        Raises:
            ModelError: an architecture without known targets, or targets that no layer bears.
        """
        named = check_targets(model, self.targets) if isinstance(self.targets, list) else find_targets(model).named(self.targets)
        return self.config_of(named)

    def config_of(self, named: list[str]) -> Any:
        """peft's configuration for layers, by the endings of their names."""
        from peft import LoraConfig

        return LoraConfig(
            r=self.r,
            lora_alpha=self.alpha,  # type: ignore[arg-type]
            lora_dropout=self.dropout,
            target_modules=named,
            use_rslora=self.rslora,
            use_dora=self.dora,
            bias="none",
        )
