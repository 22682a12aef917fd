"""Cosine similarity regressed on scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch.nn.functional import cosine_similarity

from langadapt.contracts import Batch, Columns, Loss, Models, Objective, Role, Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class CosineSts(Objective):
    """Squared error between the cosine of two sentences and their score in [0, 1].

    Reimers & Gurevych 2019 (arXiv:1908.10084); as the second step after NLI: Joshi et al. 2022 (arXiv:2211.11187).

    Inputs: ``sentence1, sentence2, score``.
    """

    name: ClassVar[str] = "cosine-sts"
    columns: ClassVar[tuple[Columns, ...]] = ({"sentence1": Role.TEXT, "sentence2": Role.TEXT, "score": Role.NUMBER},)

    def collate(self, rows: list[Row], tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator, head: Any = None) -> Batch:
        sequences = [row["sentence1"] for row in rows] + [row["sentence2"] for row in rows]
        return Batch(sequences, len(rows), {"scores": [row["score"] for row in rows]})

    def loss(self, models: Models, batch: Batch, step: int) -> Loss:
        cosines, scores = cosines_and_scores(models, batch)
        return Loss(((cosines - scores) ** 2).sum())


def cosines_and_scores(models: Models, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each pair, both (n,) float32."""
    vectors = models.encoder.embed(batch.sequences)
    with torch.autocast(vectors.device.type, enabled=False):
        vectors = vectors.float()
        cosines = cosine_similarity(vectors[: batch.count], vectors[batch.count :])
    return cosines, torch.tensor(batch.extra["scores"], device=cosines.device, dtype=cosines.dtype)
