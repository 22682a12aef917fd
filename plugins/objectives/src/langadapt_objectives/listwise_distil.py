"""A teacher's ranking of candidates learnt by a student."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch.nn.functional import kl_div, normalize

from langadapt.contracts import Batch, Columns, Loss, Models, Objective, Role, Row
from langadapt.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast


class ListwiseDistil(Objective):
    """Kullback-Leibler divergence from the teacher's distribution over a row's candidates to the student's.

    The teacher's is the softmax of its scores over `teacher_temperature`, the student's that of its cosines over `temperature`.  After
    RocketQAv2 (Ren et al. 2021, arXiv:2110.07367), which trains retriever and reranker together and adds a supervised term: here the
    teacher is fixed, and its lists are all there is.

    Inputs: ``anchor, candidates, scores``: candidates are any number of texts, scores one number each; the annotator ``candidates``
    makes both columns.
    """

    name: ClassVar[str] = "listwise-distil"
    columns: ClassVar[tuple[Columns, ...]] = ({"anchor": Role.TEXT, "candidates": Role.TEXTS, "scores": Role.NUMBERS},)

    temperature: Annotated[float, Field(gt=0)] = 0.05
    teacher_temperature: Annotated[float, Field(gt=0)] = 0.05
    """Of scores as the teacher gives them: cosines want about 0.05, a cross-encoder's logits about 1."""

    def prepare(self, data: Dataset) -> Dataset:
        found = super().prepare(data)
        for i, row in enumerate(found):
            if len(row["candidates"]) != len(row["scores"]) or len(row["scores"]) < 2:
                raise DataError(
                    f"row {i + 1} has {len(row['candidates'])} candidates and {len(row['scores'])} scores: two at least, one each"
                )
        return found

    def collate(self, rows: list[Row], tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator, head: Any = None) -> Batch:
        sequences = [row["anchor"] for row in rows] + [ids for row in rows for ids in row["candidates"]]
        return Batch(sequences, len(rows), {"scores": [row["scores"] for row in rows]})

    def loss(self, models: Models, batch: Batch, step: int) -> Loss:
        encoder, n = models.encoder, batch.count
        if encoder.activate is None:
            vectors = encoder.embed(batch.sequences)
        else:  # anchors and candidates are read by different modules
            vectors = torch.cat([encoder.embed_as("query", batch.sequences[:n]), encoder.embed_as("document", batch.sequences[n:])])
        with torch.autocast(vectors.device.type, enabled=False):
            vectors = normalize(vectors.float(), dim=-1)
            anchors, given = vectors[: batch.count], vectors[batch.count :]
            total = vectors.new_zeros(())
            start = 0
            for anchor, scores in zip(anchors, batch.extra["scores"], strict=True):
                mine = (given[start : start + len(scores)] @ anchor / self.temperature).log_softmax(0)
                theirs = (torch.tensor(scores, device=vectors.device) / self.teacher_temperature).softmax(0)
                total = total + kl_div(mine, theirs, reduction="sum")
                start += len(scores)
        return Loss(total)
