"""What a recipe may say of ``do: train-tokenizer``."""

from __future__ import annotations

from typing import ClassVar, Literal

from langadapt.manifests.language import Slot
from langadapt.manifests.stage import Names, Stage


class TrainTokenizer(Stage):
    """Train, extend or prune a tokenizer on text."""

    inputs: ClassVar = {"corpus": ("Corpus", "Pairs"), "encoder": ("Encoder",)}
    slots: ClassVar = {"tokenizer": "tokenizer"}
    output: ClassVar = "Tokenizer"
    do: Literal["train-tokenizer"]
    corpus: Names
    encoder: str | None = None
    tokenizer: Slot
