"""What a recipe may say of ``do: load``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from langadapt.manifests.language import Slot
from langadapt.manifests.resource import Resource
from langadapt.manifests.stage import Stage


class Load(Stage):
    """Bring a checkpoint in: from the Hub, a path or a package, or take over an earlier stage's encoder."""

    version: ClassVar[str] = "3"

    inputs: ClassVar = {"encoder": ("Encoder",)}
    slots: ClassVar = {"pooler": "pooler", "embedding": "embedding"}
    output: ClassVar = "Encoder"
    do: Literal["load"]
    source: Resource | None = None
    encoder: str | None = None
    pooler: Slot | None = None
    embedding: Slot | None = None
    """What computes the input rows from tokens' spellings, from here on; None leaves them as the base has them."""
    max_length: Annotated[int, Field(ge=8, le=8192)] | None = None
    """Tokens per text, special ones included; longer texts are truncated and counted.  None takes the base's own, 128 at most."""
    layers: Annotated[int, Field(ge=1)] | None = None
    """Keep so many layers, evenly spaced from the first to the last."""
    weights: Literal["pretrained", "random"] = "pretrained"
    """``random`` keeps the architecture and starts from scratch, with a masked-LM head."""
