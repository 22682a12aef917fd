"""LoRA on a quantised base (Dettmers et al. 2023, arXiv:2305.14314): the frozen weights take a quarter or an eighth of the room."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from langadapt.errors import ModelError
from langadapt.modeling.loading import quantization_options
from langadapt_lora.lora import Lora

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Qlora8bit(Lora):
    """LoRA on a base in 8 bit, as LACoS-BLOOM trains it (Hua et al. 2023, arXiv:2305.06404)."""

    name: ClassVar[str] = "qlora-8bit"
    quantization: ClassVar[str] = "8bit"

    def load_options(self, device: str) -> dict[str, Any]:
        if self.dora and device == "cpu":
            raise ModelError("peft cannot train DoRA on an 8-bit base on the CPU", hint="Switch dora off, or use 'qlora-4bit' or 'lora'.")
        return quantization_options("8bit", device)


class Qlora4bit(Lora):
    """LoRA on a base in 4-bit NormalFloat; `double` quantises the scales too."""

    name: ClassVar[str] = "qlora-4bit"
    quantization: ClassVar[str] = "4bit"

    double: bool = True

    def load_options(self, device: str) -> dict[str, Any]:
        return quantization_options("4bit", device, double=self.double)

    def attach(self, model: PreTrainedModel) -> None:
        _keep_unpacked(model)
        super().attach(model)

    def load(self, model: PreTrainedModel, folder: Path) -> None:
        _keep_unpacked(model)
        super().load(model, folder)


def _keep_unpacked(model: PreTrainedModel) -> None:
    """Hold 4-bit weights in the form that gradients pass through.

    On CPUs with AVX512-BF16, bitsandbytes repacks them in place at the first evaluation, and training after it would fail.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
