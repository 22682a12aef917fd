"""What a recipe may say of ``do: export``."""

from __future__ import annotations

from typing import ClassVar, Literal

from langadapt.manifests.language import Slot
from langadapt.manifests.stage import Slots, Stage


class Export(Stage):
    """Write the release that people download."""

    inputs: ClassVar = {"encoder": ("Encoder", "Scorer"), "scores": ("Scores",), "data": ("Corpus", "Pairs")}
    slots: ClassVar = {"exporters": "exporter", "normalizer": "normalizer"}
    output: ClassVar = "Release"
    do: Literal["export"]
    encoder: str
    scores: str | None = None
    data: str | None = None
    """Texts for exporters that read some."""
    exporters: Slots
    normalizer: Slot | None = None
