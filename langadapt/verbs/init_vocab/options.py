"""What a recipe may say of ``do: init-vocab``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from langadapt.manifests.language import Slot
from langadapt.manifests.stage import Stage


class InitVocab(Stage):
    """Move an encoder onto a new tokenizer: input rows, output rows, bias, special tokens, config ids."""

    version: ClassVar[str] = "2"

    inputs: ClassVar = {"encoder": ("Encoder",), "tokenizer": ("Tokenizer",), "corpus": ("Corpus", "Pairs")}
    slots: ClassVar = {"vocab_init": "vocab-init"}
    output: ClassVar = "Encoder"
    do: Literal["init-vocab"]
    encoder: str
    tokenizer: str
    corpus: str | None = None
    vocab_init: Annotated[Slot, Field(alias="vocab-init")]
