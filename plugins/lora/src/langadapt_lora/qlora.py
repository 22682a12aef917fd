"""LoRA on a quantised base (Dettmers et al. 2023, arXiv:2305.14314): the frozen weights take a quarter or an eighth of the room."""

from __future__ import annotations

from typing import Any, ClassVar

from langadapt.modeling.loading import quantization_options
from langadapt_lora.lora import Lora


class Qlora8bit(Lora):
    """LoRA on a base in 8 bit, as LACoS-BLOOM trains it (Hua et al. 2023, arXiv:2305.06404)."""

    name: ClassVar[str] = "qlora-8bit"
    quantization: ClassVar[str] = "8bit"

    def load_options(self, device: str) -> dict[str, Any]:
        return quantization_options("8bit", device)


class Qlora4bit(Lora):
    """LoRA on a base in 4-bit NormalFloat; `double` quantises the scales too."""

    name: ClassVar[str] = "qlora-4bit"
    quantization: ClassVar[str] = "4bit"

    double: bool = True

    def load_options(self, device: str) -> dict[str, Any]:
        return quantization_options("4bit", device, double=self.double)
