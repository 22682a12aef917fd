"""How texts are read before they become vectors: an adapter brings its own way, which its training texts went through."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langadapt.artifacts import encoder as encoders
from langadapt.artifacts.files import read_json
from langadapt.errors import ModelError, StoreError
from langadapt.modeling.encoder import EncoderSettings


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
    again = "Copy the adapter again."
    if not path.is_file():
        raise ModelError(f"there is no {encoders.SETTINGS}, which says how the adapter's texts are read", where=str(folder), hint=again)
    try:
        found = EncoderSettings(**read_json(path))
    except (StoreError, TypeError) as error:
        what = error.what if isinstance(error, StoreError) else f"cannot be read: {error}"
        raise ModelError(what, where=str(path), hint=again) from error
    sound = {
        "pooler": isinstance(found.pooler, dict) and isinstance(found.pooler.get("use"), str),
        "max_length": type(found.max_length) is int and found.max_length > 0,
        "prompt": isinstance(found.prompt, str),
        "normalizer": found.normalizer is None or (isinstance(found.normalizer, dict) and isinstance(found.normalizer.get("use"), str)),
    }
    for name, is_sound in sound.items():
        if not is_sound:
            raise ModelError(f"its '{name}' is {getattr(found, name)!r}", where=str(path), hint=again)
    return found
