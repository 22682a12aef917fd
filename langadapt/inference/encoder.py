"""Encoder: texts in, float32 vectors out.

Texts are tokenised once, sorted by token count and run in groups that share a length, so a batch pads a few per cent
whatever the mix of texts; results come back in the order given.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from langadapt.artifacts import encoder as encoders
from langadapt.artifacts.encoder import LoadedEncoder, pad_id
from langadapt.artifacts.fetch import CHECKPOINT_FILES, hub_error
from langadapt.errors import DataError, ModelError
from langadapt.modeling.batching import group_by_length
from langadapt.modeling.encoder import EncoderModule, EncoderSettings
from langadapt.modeling.pooling import Cls, Mean
from langadapt.registry.component import Component, Log, SilentLog
from langadapt.training.tokenized import tokenize_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from langadapt.registry.registry import Registry

logger = logging.getLogger("langadapt")


@dataclass(frozen=True)
class EncodeStats:
    """What one :meth:`Encoder.encode` call did."""

    texts: int
    tokens: int
    truncated: int
    """Texts longer than the encoder's maximum, cut at its end."""


class Encoder:
    """An encoder ready for inference.  Make one with :meth:`load`."""

    def __init__(self, loaded: LoadedEncoder, module: EncoderModule, normalizer: Any = None, precision: str = "fp32") -> None:
        self._loaded = loaded
        self._module = module
        self._normalizer = normalizer
        self.precision = precision
        self.stats = EncodeStats(0, 0, 0)

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        device: str | None = None,
        precision: str = "fp32",
        registry: Registry | None = None,
    ) -> Encoder:
        """Load a release, a sentence-transformers folder, any transformers checkpoint, or one of these from the Hub.

        Args:
            source: a folder, or a Hub id.
            device: ``cpu``, ``cuda``, ``mps``; None takes the best there is.
            precision: ``fp32`` or ``bf16`` (pooling stays in float32).
            registry: where poolers and normalizers are looked up; None uses the installed plugins.

        Raises:
            ModelError: no such folder, pickled or damaged weights, no tokenizer.
            DataError: the Hub cannot be reached or has no such repository.
        """
        folder = _local(source)
        loaded = encoders.load(folder, mlm_head=False)
        pooler = _component(registry, "pooler", loaded.settings.pooler)
        settings = loaded.settings
        separate = settings.normalizer if not settings.normalizer_in_tokenizer else None
        normalizer = _component(registry, "normalizer", separate) if separate else None
        module = loaded.module(pooler).to(device or best_device()).eval()
        return cls(loaded, module, normalizer, precision)

    @property
    def settings(self) -> EncoderSettings:
        """Pooler, maximum length, prompt, normalizer."""
        return self._loaded.settings

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The fast tokenizer."""
        return self._loaded.tokenizer

    @property
    def width(self) -> int:
        """d of the vectors."""
        return self._module.width

    def encode(
        self, texts: Sequence[str], *, batch_tokens: int = 4096, progress: bool | Log = False, normalize: bool | None = None
    ) -> np.ndarray:
        """Vectors of texts, in order: (n, d) float32.

        An empty string gets the vector of an empty sentence.  Over-long texts are truncated; how many is in
        :attr:`stats` and in one log warning.

        Args:
            batch_tokens: padded tokens in one forward pass.
            progress: show a bar, or the log to show progress in.
            normalize: scale to length one; None does what the encoder's settings say.

        Raises:
            DataError: `texts` is a single string or holds something that is no string, or no Unicode text.
        """
        self._check(texts)
        if not len(texts):
            self.stats = EncodeStats(0, 0, 0)
            return np.zeros((0, self.width), dtype=np.float32)
        prepared = [self._normalizer.normalize(text) for text in texts] if self._normalizer else list(texts)
        ids, truncated = tokenize_texts(self.tokenizer, prepared, self.settings.max_length, self.settings.prompt)
        # A tokenizer without special tokens gives an empty text no token at all: one padding token stands in.
        ids = [found or [pad_id(self.tokenizer)] for found in ids]
        vectors = self._run(ids, batch_tokens, progress)
        if normalize if normalize is not None else self.settings.normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        self.stats = EncodeStats(len(texts), sum(map(len, ids)), truncated)
        if truncated:
            logger.warning("%d of %d texts are longer than %d tokens and were truncated", truncated, len(texts), self.settings.max_length)
        return vectors

    def _run(self, ids: list[list[int]], batch_tokens: int, progress: bool | Log) -> np.ndarray:
        vectors = np.empty((len(ids), self.width), dtype=np.float32)
        groups = group_by_length([len(found) for found in ids], batch_tokens)
        device = self._module.device.type
        training = self._module.training
        self._module.eval()
        try:
            with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=self.precision == "bf16"):
                for group in _log(progress).track(groups, "encoding", len(groups)):
                    vectors[group] = self._module.embed([ids[i] for i in group], batch_tokens).float().cpu().numpy()
        finally:
            self._module.train(training)
        return vectors

    @staticmethod
    def _check(texts: Sequence[str]) -> None:
        if isinstance(texts, str):
            raise DataError("encode() takes a list of texts, not one string", hint="Write encode([text]).")
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise DataError(f"text {i} is {type(text).__name__}, not a string")
            try:
                text.encode("utf-8")
            except UnicodeEncodeError as error:
                raise DataError(
                    f"text {i} has half of a surrogate pair at character {error.start + 1}, which is no Unicode text"
                ) from error


def best_device() -> str:
    """``cuda``, ``mps`` or ``cpu``."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _local(source: str | Path) -> Path:
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if isinstance(source, Path) or source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise ModelError("there is no such folder", where=str(source), hint="Give a release folder or a Hub id.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, allow_patterns=CHECKPOINT_FILES, ignore_patterns=["onnx/*", "openvino/*"]))
    except Exception as error:
        raise hub_error("encoder", source, error) from error


def _component(registry: Registry | None, kind: str, slot: dict[str, Any]) -> Component:
    if registry is None and kind == "pooler" and slot in ({"use": "mean"}, {"use": "cls"}):
        return Mean() if slot["use"] == "mean" else Cls()
    if registry is None:
        from langadapt.registry.plugins import load_plugins
        from langadapt.registry.registry import Registry

        registry = Registry(load_plugins())
    return registry.build(kind, slot)


def _log(progress: bool | Log) -> Log:
    if progress is False:
        return SilentLog()
    if progress is True:
        from langadapt.reporting import ConsoleLog

        return ConsoleLog()
    return progress
