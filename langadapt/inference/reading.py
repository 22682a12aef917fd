"""How texts are read before they become vectors: an adapter brings its own way, which its training texts went through."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langadapt.artifacts import encoder as encoders
from langadapt.contracts.encoder import EncoderSettings
from langadapt.errors import ModelError


@dataclass(frozen=True)
class Reading:
    """What happens to a text: normalised, prefixed, cut.  Two that are equal read every text alike."""

    prompt: str = ""
    normalizer: Any = None
    max_length: int = 128
    """Tokens, special ones included."""

    def prepare(self, text: str) -> str:
        return self.prompt + (self.normalizer.normalize(text) if self.normalizer else text)


def adapter_settings(folder: Path) -> EncoderSettings:
    """The settings that an adapter was trained with, from the ``encoder.json`` beside its ``adapter.json``.

    Raises:
        ModelError: missing, truncated, or holding something else: guessed settings would give other vectors without a word.
    """
    path = folder / encoders.SETTINGS
    if not path.is_file():
        raise ModelError(
            f"there is no {encoders.SETTINGS}, which says how the adapter's texts are read",
            where=str(folder),
            hint="Copy the adapter again.",
        )
    found = encoders.settings_file(path)
    if not found.max_length:
        raise ModelError("its 'max_length' is 0", where=str(path), hint="Copy the adapter again.")
    return found
