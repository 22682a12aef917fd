"""Three-way classification of sentence pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from langadapt.contracts import Batch, Columns, EncoderSpec, Loss, Models, Objective, Role, Row
from langadapt.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast


LABELS = ("entailment", "neutral", "contradiction")


class NliSoftmax(Objective):
    """Classify (u, v, |u − v|) with one linear layer (InferSent: Conneau et al. 2017, arXiv:1705.02364; SBERT:
    Reimers & Gurevych 2019, arXiv:1908.10084).  The layer is dropped after training.

    Inputs: ``premise, hypothesis, label`` with labels entailment, neutral, contradiction.
    """

    name: ClassVar[str] = "nli-softmax"
    columns: ClassVar[tuple[Columns, ...]] = ({"premise": Role.TEXT, "hypothesis": Role.TEXT, "label": Role.LABEL},)

    def prepare(self, data: Dataset) -> Dataset:
        present = set(data["label"])
        if len(present) < 2:
            raise DataError(f"all rows are labelled '{', '.join(present)}': there is nothing to tell apart")
        return super().prepare(data)

    def build(self, spec: EncoderSpec, teacher: EncoderSpec | None = None) -> nn.Module:
        return nn.Linear(3 * spec.output_width, len(LABELS))

    def collate(self, rows: list[Row], tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator, head: Any = None) -> Batch:
        labels = [LABELS.index(row["label"]) for row in rows]
        sequences = [row["premise"] for row in rows] + [row["hypothesis"] for row in rows]
        return Batch(sequences, len(rows), {"labels": labels})

    def loss(self, models: Models, batch: Batch, step: int) -> Loss:
        vectors = models.encoder.embed(batch.sequences)
        u, v = vectors[: batch.count], vectors[batch.count :]
        logits = models.head(torch.cat([u, v, (u - v).abs()], -1)).float()
        labels = torch.tensor(batch.extra["labels"], device=logits.device)
        return Loss(cross_entropy(logits, labels, reduction="sum"))
