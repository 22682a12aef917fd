"""What a recipe may say of ``do: collect``."""

from __future__ import annotations

from typing import ClassVar, Literal

from langadapt.manifests.language import Slot
from langadapt.manifests.stage import Selectors, Slots, Stage


class Collect(Stage):
    """Read, normalise, filter and deduplicate text."""

    slots: ClassVar = {"corpus": "corpus", "normalizer": "normalizer", "selectors": "selector"}
    output: ClassVar = "Corpus"
    do: Literal["collect"]
    corpus: Slots
    normalizer: Slot | None = None
    selectors: Selectors = []
