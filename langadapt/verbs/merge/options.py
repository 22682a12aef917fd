"""What a recipe may say of ``do: merge``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from langadapt.manifests.language import Slot
from langadapt.manifests.stage import Stage, listed


class Merge(Stage):
    """Make one encoder of several that have the same shape and tokenizer."""

    inputs: ClassVar = {"encoders": ("Encoder",)}
    slots: ClassVar = {"merger": "merger"}
    output: ClassVar = "Encoder"
    do: Literal["merge"]
    encoders: Annotated[list[str], BeforeValidator(listed), Field(min_length=2)]
    merger: Slot
