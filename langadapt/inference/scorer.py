"""Scorer: pairs of texts in, one score each out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from langadapt.artifacts import scorer as scorers
from langadapt.artifacts.scorer import LoadedScorer
from langadapt.contracts.component import Log, SilentLog
from langadapt.contracts.data import Normalizer
from langadapt.errors import DataError, ModelError
from langadapt.inference.opening import best_device, local_folder
from langadapt.modeling.loading import own
from langadapt.training.tokenized import tokenize_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Scorer:
    """A cross-encoder ready for use: it reads both texts of a pair at once.  Make one with :meth:`load`."""

    def __init__(self, loaded: LoadedScorer, device: str = "cpu", normalizer: Normalizer | None = None) -> None:
        self._loaded, self._normalizer = loaded, normalizer
        self._module = loaded.module().to(device).eval()

    @classmethod
    def load(cls, source: str | Path, *, device: str | None = None, normalizer: Normalizer | None = None) -> Scorer:
        """Load a scorer's folder, or a cross-encoder's from the Hub.

        Args:
            normalizer: what every text goes through first, where its tokenizer does not.

        Raises:
            ModelError: no such folder, or no sequence classifier with a tokenizer that frames pairs.
        """
        folder = local_folder(source)
        loaded = scorers.load(folder)
        untrained = next((name for name, weight in loaded.model.named_parameters() if getattr(weight, "fresh", False)), None)
        if untrained is not None:
            raise ModelError(
                f"has no trained head to score pairs with ('{untrained}' is not among its weights)",
                where=str(folder),
                hint="Train one, with an objective that leaves a scorer.",
            )
        return cls(loaded, device or best_device(), normalizer)

    def own_weights(self) -> None:
        """Hold the weights apart from their folder, which may then change."""
        own(self._module)

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The fast tokenizer."""
        return self._loaded.tokenizer

    @property
    def device(self) -> str:
        """``cpu``, ``cuda`` or ``mps``."""
        return self._module.device.type

    def score(self, pairs: Sequence[tuple[str, str]], *, batch_tokens: int = 4096, progress: bool | Log = False) -> np.ndarray:
        """A logit a pair, in order: (n,) float32, higher for pairs that belong together.

        Raises:
            DataError: something that is no pair of texts.
        """
        for i, pair in enumerate(pairs):
            if len(pair) != 2 or not all(isinstance(text, str) for text in pair):
                raise DataError(f"pair {i} is no two texts")
        if not pairs:
            return np.zeros(0, dtype=np.float32)
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        spelt = texts if self._normalizer is None else [self._normalizer.normalize(text) for text in texts]
        ids, _ = tokenize_texts(self.tokenizer, spelt, self._loaded.settings.max_length)
        place = {text: i for i, text in enumerate(texts)}
        log = progress if not isinstance(progress, bool) else SilentLog()
        parts = []
        with torch.inference_mode():
            blocks = range(0, len(pairs), BLOCK)
            for start in log.track(blocks, "scoring pairs", len(blocks)):
                block = pairs[start : start + BLOCK]
                left, right = [ids[place[a]] for a, _ in block], [ids[place[b]] for _, b in block]
                parts.append(self._module.score(left, right, batch_tokens).cpu().numpy())
        found: np.ndarray = np.concatenate(parts)
        return found


BLOCK = 1024
"""Pairs sorted by length at once."""
