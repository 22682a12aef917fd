"""One of langadapt's encoders as a model of MTEB's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from mteb.models.model_meta import ModelMeta, ScoringFunction

if TYPE_CHECKING:
    import numpy as np
    from mteb.types import PromptType

    from langadapt.contracts import Embeds


class MtebModel:
    """An encoder behind MTEB's ``EncoderProtocol``: texts go through its own prompt and normalizer; prompts of tasks are not read.

    Queries and documents are read by the adapters of these roles, where the encoder has them.

    Args:
        encoder: loaded.
        name: ``organisation/name``, what MTEB's results are filed under.
        revision: of the name.
    """

    def __init__(self, encoder: Embeds, name: str = "langadapt/encoder", revision: str = "local") -> None:
        self.encoder = encoder
        facts = {"name": name, "revision": revision, "embed_dim": encoder.width, "max_tokens": encoder.settings.max_length}
        self._meta = ModelMeta.create_empty({**facts, "similarity_fn_name": ScoringFunction.COSINE, "framework": ["PyTorch"]})

    @property
    def mteb_model_meta(self) -> ModelMeta:
        return self._meta

    def encode(self, inputs: Iterable[Any], *, prompt_type: PromptType | None = None, **unread: Any) -> np.ndarray:
        """Unit vectors (n, d) float32 of the texts of batches."""
        texts = [text for batch in inputs for text in batch["text"]]
        adapter = self.encoder.role(str(prompt_type.value)) if prompt_type is not None else None
        return self.encoder.encode(texts, adapter=adapter, normalize=True)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """Cosines (n, m) of unit vectors."""
        one, other = _rows(embeddings1), _rows(embeddings2)
        return one @ other.T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """Cosines (n,) of unit vectors, row by row."""
        one, other = _rows(embeddings1), _rows(embeddings2)
        return (one * other).sum(-1)


def _rows(vectors: Any) -> torch.Tensor:
    """(n, d), of a single vector too."""
    found = torch.as_tensor(vectors)
    return found.reshape(-1, found.shape[-1])
