"""Cosine similarity regressed on scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch.nn.functional import cosine_similarity

from langadapt.registry.component import Component
from langadapt.registry.kinds import Batch, Loss

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast

    from langadapt.modeling.encoder import EncoderModule


class CosineSts(Component):
    """Squared error between the cosine of two sentences and their score in [0, 1].

    Reimers & Gurevych 2019 (arXiv:1908.10084); as the second step after NLI: Joshi et al. 2022 (arXiv:2211.11187).

    Inputs: ``sentence1, sentence2, score``.
    """

    kind: ClassVar[str] = "objective"
    name: ClassVar[str] = "cosine-sts"
    columns: ClassVar[tuple[tuple[str, ...], ...]] = (("sentence1", "sentence2", "score"),)
    separable: ClassVar[bool] = True
    needs_mlm_head: ClassVar[bool] = False
    long_texts: ClassVar[str] = "truncate"

    def prepare(self, data: Dataset) -> Dataset:
        return data.select_columns(["sentence1", "sentence2", "score"])

    def head(self, width: int) -> None:
        return None

    def collate(self, rows: list[dict[str, Any]], tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator) -> Batch:
        sequences = [row["sentence1"] for row in rows] + [row["sentence2"] for row in rows]
        return Batch(sequences, len(rows), {"scores": [row["score"] for row in rows]})

    def loss(self, encoder: EncoderModule, head: Any, batch: Batch, step: int) -> Loss:
        vectors = encoder.embed(batch.sequences)
        with torch.autocast(vectors.device.type, enabled=False):
            vectors = vectors.float()
            cosines = cosine_similarity(vectors[: batch.count], vectors[batch.count :])
            scores = torch.tensor(batch.extra["scores"], device=cosines.device, dtype=cosines.dtype)
            total = ((cosines - scores) ** 2).sum()
        return Loss(total)
