"""What a recipe may say of ``do: annotate``."""

from __future__ import annotations

from typing import ClassVar, Literal

from langadapt.manifests.stage import Slots, Stage


class Annotate(Stage):
    """Add columns that an encoder or a scorer computes once: vectors to learn from, scores of candidates, clusters."""

    inputs: ClassVar = {"data": ("Pairs", "Corpus"), "teacher": ("Encoder", "Scorer")}
    slots: ClassVar = {"annotators": "annotator"}
    output: ClassVar = "Pairs"
    do: Literal["annotate"]
    data: str
    teacher: str
    annotators: Slots
