"""Vectors of a teacher learnt by a student."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from langadapt.contracts import Batch, Columns, Loss, Models, Objective, Role, Row
from langadapt.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class MseDistil(Objective):
    """Mean squared error between a text's vector and the teacher's, which ``annotate`` put into the column ``vector``.

    Reimers & Gurevych 2020 (arXiv:2004.09813): of parallel sentences both the source and its translation are drawn to the teacher's
    vector of the source, so that a student of another language takes its place in the teacher's space.  With texts of one language it is
    plain distillation into a smaller student.

    Inputs: ``source, target, vector``, or ``text, vector``.  As in the authors' code the mean is taken over the dimensions.
    """

    name: ClassVar[str] = "mse-distil"
    columns: ClassVar[tuple[Columns, ...]] = (
        {"source": Role.TEXT, "target": Role.TEXT, "vector": Role.NUMBERS},
        {"text": Role.TEXT, "vector": Role.NUMBERS},
    )

    def collate(self, rows: list[Row], tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator, head: Any = None) -> Batch:
        names = [name for name in ("source", "target", "text") if name in rows[0]]
        goal = np.array([row["vector"] for row in rows], dtype=np.float32)
        return Batch([row[name] for name in names for row in rows], len(rows) * len(names), {"goal": np.tile(goal, (len(names), 1))})

    def loss(self, models: Models, batch: Batch, step: int) -> Loss:
        vectors = models.encoder.embed(batch.sequences).float()
        goal = torch.from_numpy(batch.extra["goal"]).to(vectors.device)
        if goal.shape != vectors.shape:
            raise DataError(
                f"the teacher's vectors have {goal.shape[1]} dimensions, the student's {vectors.shape[1]}",
                hint="Fit 'pca' on the teacher to the student's width first, or give the student a layer of the teacher's width.",
            )
        return Loss(((vectors - goal) ** 2).mean(1).sum())
