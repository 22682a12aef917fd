"""What this plugin brings, as strings: nothing is imported until a recipe names it."""

from __future__ import annotations

from collections.abc import Iterable

from langadapt.contracts import ComponentRef, hookimpl


@hookimpl
def langadapt_components() -> Iterable[ComponentRef]:
    return [
        ComponentRef("adaptation", "lora", "langadapt_lora.lora:Lora", "low-rank updates of linear layers"),
        ComponentRef("adaptation", "ia3", "langadapt_lora.ia3:Ia3", "learnt factors on keys, values and feed-forward layers"),
        ComponentRef("adaptation", "qlora-8bit", "langadapt_lora.qlora:Qlora8bit", "LoRA on a base in 8 bit"),
        ComponentRef("adaptation", "qlora-4bit", "langadapt_lora.qlora:Qlora4bit", "LoRA on a base in 4 bit (NF4)"),
        ComponentRef("adaptation", "semi-siamese", "langadapt_lora.semi_siamese:SemiSiamese", "two readers that share half a LoRA"),
        ComponentRef("adaptation", "twin-lora", "langadapt_lora.twin_lora:TwinLora", "one LoRA for queries, one for documents"),
        ComponentRef("optimizer", "adamw-8bit", "langadapt_lora.optimizers:AdamW8bit", "AdamW with 8-bit moments"),
        ComponentRef(
            "optimizer", "paged-adamw-8bit", "langadapt_lora.optimizers:PagedAdamW8bit", "AdamW with 8-bit moments, paged to the host"
        ),
        ComponentRef("optimizer", "lion-8bit", "langadapt_lora.optimizers:Lion8bit", "Lion with an 8-bit moment"),
    ]
