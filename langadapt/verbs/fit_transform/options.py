"""What a recipe may say of ``do: fit-transform``."""

from __future__ import annotations

from typing import ClassVar, Literal

from langadapt.manifests.language import Slot
from langadapt.manifests.stage import Stage


class FitTransform(Stage):
    """Fit a transform (whitening, PCA) on the vectors of an encoder and ship it with it."""

    version: ClassVar[str] = "2"

    inputs: ClassVar = {"encoder": ("Encoder",), "data": ("Corpus", "Pairs")}
    slots: ClassVar = {"transform": "transform"}
    output: ClassVar = "Encoder"
    do: Literal["fit-transform"]
    encoder: str
    data: str
    transform: Slot
