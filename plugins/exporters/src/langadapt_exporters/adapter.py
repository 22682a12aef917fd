"""An adapter alone: a few megabytes that name the base they belong to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from langadapt.contracts import Exporter
from langadapt.contracts.checkpoints import adapters
from langadapt.errors import ModelError


class Adapter(Exporter):
    """The adapter's files in its library's own format, with the base's digest and the centroid a router chooses by.

    langadapt loads it with ``Encoder.add_adapter``; peft and adapters load the folder as their own.
    """

    name: ClassVar[str] = "adapter"
    adapter_only: ClassVar[bool] = True

    def export(self, encoder: Any, tokenizer: Any, settings: Any, folder: Path, texts: Any = None) -> None:
        raise ModelError("an adapter cannot be released beside whole weights", hint="Give exporters: [adapter] alone.")

    def export_adapter(self, source: Path, folder: Path) -> None:
        """Copy what makes the adapter, and nothing of its training."""
        adapters.copy_weights(source, folder)
