"""What a recipe may say of ``do: evaluate``."""

from __future__ import annotations

from typing import ClassVar, Literal

from langadapt.manifests.language import Slot
from langadapt.manifests.stage import Names, Slots, Stage


class Evaluate(Stage):
    """Score encoders side by side, on texts that went through the normalizer, if one is named."""

    version: ClassVar[str] = "4"

    inputs: ClassVar = {"encoders": ("Encoder", "Scorer")}
    slots: ClassVar = {"evaluators": "evaluator", "normalizer": "normalizer"}
    output: ClassVar = "Scores"
    do: Literal["evaluate"]
    encoders: Names
    evaluators: Slots
    normalizer: Slot | None = None
