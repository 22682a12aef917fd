"""What a recipe may say of ``do: pair``."""

from __future__ import annotations

from typing import ClassVar, Literal

from langadapt.manifests.language import Slot
from langadapt.manifests.stage import Selectors, Stage


class Pair(Stage):
    """Read sentence pairs into one of the standard column sets."""

    inputs: ClassVar = {"encoder": ("Encoder",)}
    slots: ClassVar = {"source": "pairs", "translator": "translator", "normalizer": "normalizer", "selectors": "selector"}
    output: ClassVar = "Pairs"
    do: Literal["pair"]
    source: Slot
    encoder: str | None = None
    translator: Slot | None = None
    normalizer: Slot | None = None
    selectors: Selectors = []
