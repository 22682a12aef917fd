"""What this plugin brings, as strings: nothing is imported until a recipe names it."""

from __future__ import annotations

from collections.abc import Iterable

from langadapt.contracts import ComponentRef, hookimpl


@hookimpl
def langadapt_components() -> Iterable[ComponentRef]:
    return [
        ComponentRef("adaptation", "bottleneck", "langadapt_adapters.bottleneck:Bottleneck", "two small linear layers in every layer"),
        ComponentRef("adaptation", "prefix", "langadapt_adapters.prefix:Prefix", "learned keys and values before every sentence"),
        ComponentRef(
            "adaptation",
            "semi-siamese-prefix",
            "langadapt_adapters.semi_siamese_prefix:SemiSiamesePrefix",
            "prefixes for queries and documents, half of them common",
        ),
        ComponentRef(
            "adaptation",
            "semi-siamese-hybrid",
            "langadapt_adapters.semi_siamese_hybrid:SemiSiameseHybrid",
            "a prefix trained on top of LoRA, or LoRA on top of a prefix",
        ),
        ComponentRef("adaptation", "stack", "langadapt_adapters.compositions:Stack", "a new bottleneck on top of trained ones"),
        ComponentRef("adaptation", "fuse", "langadapt_adapters.compositions:Fuse", "attention over the outputs of trained bottlenecks"),
        ComponentRef("adaptation", "average", "langadapt_adapters.compositions:Average", "trained bottlenecks averaged into one"),
    ]
