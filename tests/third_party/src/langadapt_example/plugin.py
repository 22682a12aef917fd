"""What this plugin brings, as strings."""

from __future__ import annotations

from collections.abc import Iterable

from langadapt.contracts import ComponentRef, hookimpl


@hookimpl
def langadapt_components() -> Iterable[ComponentRef]:
    return [
        ComponentRef("objective", "hardest-margin", "langadapt_example.objective:HardestMargin", "pairs against the hardest of the batch"),
        ComponentRef("pooler", "mean-and-max", "langadapt_example.pooler:MeanAndMax", "mean and maximum of the token states, side by side"),
        ComponentRef("evaluator", "length-bias", "langadapt_example.evaluator:LengthBias", "how far similarity follows length alone"),
    ]
