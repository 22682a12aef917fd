"""A scorer as other libraries load it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from langadapt.contracts import EncoderSettings, Exporter
from langadapt_exporters.checkpoint import save_with_length, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class CrossEncoder(Exporter):
    """A sequence classifier of one output, as ``CrossEncoder(PATH)`` of sentence-transformers and
    ``AutoModelForSequenceClassification`` load it; the former gives the sigmoid of langadapt's logit.
    """

    name: ClassVar[str] = "cross-encoder"
    subject: ClassVar[str] = "Scorer"

    def export(
        self,
        encoder: Any,
        tokenizer: PreTrainedTokenizerFast,
        settings: EncoderSettings,
        folder: Path,
        texts: Iterable[str] | None = None,
    ) -> None:
        save_with_length(encoder.model, tokenizer, settings.max_length, folder)
        path = folder / "config.json"
        stated = {"activation_fn": "torch.nn.modules.activation.Sigmoid"}
        write_json(path, {**json.loads(path.read_text(encoding="utf-8")), "sentence_transformers": stated})
