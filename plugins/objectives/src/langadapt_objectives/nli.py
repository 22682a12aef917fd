"""Three-way classification of sentence pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from langadapt.errors import DataError
from langadapt.registry.component import Component
from langadapt.registry.kinds import Batch, Loss

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast

    from langadapt.modeling.encoder import EncoderModule

LABELS = ("entailment", "neutral", "contradiction")


class NliSoftmax(Component):
    """Classify (u, v, |u − v|) with one linear layer (InferSent: Conneau et al. 2017, arXiv:1705.02364; SBERT:
    Reimers & Gurevych 2019, arXiv:1908.10084).  The layer is dropped after training.

    Inputs: ``premise, hypothesis, label`` with labels entailment, neutral, contradiction.
    """

    kind: ClassVar[str] = "objective"
    name: ClassVar[str] = "nli-softmax"
    columns: ClassVar[tuple[tuple[str, ...], ...]] = (("premise", "hypothesis", "label"),)
    separable: ClassVar[bool] = True
    needs_mlm_head: ClassVar[bool] = False
    long_texts: ClassVar[str] = "truncate"

    def prepare(self, data: Dataset) -> Dataset:
        present = set(data["label"])
        if len(present) < 2:
            raise DataError(f"all rows are labelled '{', '.join(present)}': there is nothing to tell apart")
        return data.select_columns(["premise", "hypothesis", "label"])

    def head(self, width: int) -> nn.Module:
        return nn.Linear(3 * width, len(LABELS))

    def collate(self, rows: list[dict[str, Any]], tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator) -> Batch:
        labels = [LABELS.index(row["label"]) for row in rows]
        sequences = [row["premise"] for row in rows] + [row["hypothesis"] for row in rows]
        return Batch(sequences, len(rows), {"labels": labels})

    def loss(self, encoder: EncoderModule, head: nn.Module | None, batch: Batch, step: int) -> Loss:
        assert head is not None
        vectors = encoder.embed(batch.sequences)
        u, v = vectors[: batch.count], vectors[batch.count :]
        logits = head(torch.cat([u, v, (u - v).abs()], -1)).float()
        labels = torch.tensor(batch.extra["labels"], device=logits.device)
        return Loss(cross_entropy(logits, labels, reduction="sum"))
