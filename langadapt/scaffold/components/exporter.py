"""A form of a release."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from langadapt.contracts import Exporter
from langadapt.contracts.checkpoints import save_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerFast

    from langadapt.contracts import EncoderSettings
    from langadapt.contracts.checkpoints import EncoderModule


class Example(Exporter):
    """A checkpoint, and beside it a line of facts for a catalogue of models."""

    name: ClassVar[str] = "example"

    def export(
        self,
        encoder: EncoderModule,
        tokenizer: PreTrainedTokenizerFast,
        settings: EncoderSettings,
        folder: Path,
        texts: Iterable[str] | None = None,
    ) -> None:
        save_checkpoint(encoder.model, tokenizer, folder)
        facts = {"dimensions": encoder.width, "tokens": len(tokenizer), "longest": settings.max_length}
        (folder / "facts.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")
