"""LoRA on a quantised base (Dettmers et al. 2023, arXiv:2305.14314): the frozen weights take a quarter or an eighth of the room."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from langadapt.contracts.checkpoints import keep_unpacked, quantization_options
from langadapt.errors import ModelError
from langadapt_lora.lora import Lora

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Qlora8bit(Lora):
    """LoRA on a base in 8 bit, as LACoS-BLOOM trains it (Hua et al. 2023, arXiv:2305.06404).

    No columns are kept apart for their outliers, which would make a text's vector depend on its batch.
    """

    name: ClassVar[str] = "qlora-8bit"
    version: ClassVar[str] = "2"
    quantization: ClassVar[str | None] = "8bit"

    def load_options(self, device: str) -> dict[str, Any]:
        if self.dora and device == "cpu":
            raise ModelError("peft cannot train DoRA on an 8-bit base on the CPU", hint="Switch dora off, or use 'qlora-4bit' or 'lora'.")
        return quantization_options("8bit", device)


class Qlora4bit(Lora):
    """LoRA on a base in 4-bit NormalFloat; `double` quantises the scales too."""

    name: ClassVar[str] = "qlora-4bit"
    version: ClassVar[str] = "2"
    quantization: ClassVar[str | None] = "4bit"

    double: bool = True

    def load_options(self, device: str) -> dict[str, Any]:
        return quantization_options("4bit", device, double=self.double)

    def attach(self, model: PreTrainedModel) -> None:
        keep_unpacked(model)
        super().attach(model)

    def load(self, model: PreTrainedModel, folder: Path) -> None:
        keep_unpacked(model)
        super().load(model, folder)
