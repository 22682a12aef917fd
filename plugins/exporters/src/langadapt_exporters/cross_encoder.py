"""A scorer as other libraries load it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from langadapt.contracts import EncoderSettings, Exporter
from langadapt.contracts.checkpoints import save_checkpoint

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
        before, tokenizer.model_max_length = tokenizer.model_max_length, settings.max_length
        try:
            save_checkpoint(encoder.model, tokenizer, folder)
        finally:
            tokenizer.model_max_length = before
        path = folder / "config.json"
        stated = {"activation_fn": "torch.nn.modules.activation.Sigmoid"}
        config = {**json.loads(path.read_text(encoding="utf-8")), "sentence_transformers": stated}
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
