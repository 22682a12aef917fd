"""hardest-margin: a pair must be nearer than the anchor's hardest other positive, by a margin."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch.nn.functional import normalize

from langadapt.contracts import Batch, Columns, Loss, Models, Objective, Role


class HardestMargin(Objective):
    """Hinge loss against the hardest negative of the batch (VSE++; Faghri et al. 2018, arXiv:1707.05612), one direction."""

    name: ClassVar[str] = "hardest-margin"
    columns: ClassVar[tuple[Columns, ...]] = ({"anchor": Role.TEXT, "positive": Role.TEXT},)
    separable: ClassVar[bool] = False

    margin: Annotated[float, Field(gt=0, le=2)] = 0.2

    def collate(self, rows: list[dict[str, Any]], tokenizer: Any, rng: np.random.Generator, head: Any = None) -> Batch:
        return Batch([row["anchor"] for row in rows] + [row["positive"] for row in rows], len(rows))

    def loss(self, models: Models, batch: Batch, step: int) -> Loss:
        vectors = normalize(models.encoder.embed(batch.sequences), dim=1)
        anchors, positives = vectors[: batch.count], vectors[batch.count :]
        cosines = anchors @ positives.T
        own = cosines.diagonal()
        others = cosines.masked_fill(torch.eye(batch.count, dtype=torch.bool, device=cosines.device), -1.0)
        return Loss((self.margin + others.max(1).values - own).clamp(min=0).sum())
