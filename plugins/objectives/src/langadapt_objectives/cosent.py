"""Cosines in the order of their scores: CoSENT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch.nn.functional import cosine_similarity

from langadapt.contracts import Batch, Columns, Loss, Models, Objective, Role, Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Cosent(Objective):
    """``log(1 + Σ exp(scale · (cos_j − cos_i)))`` over all pairs of rows i, j of the batch where i has the higher score.

    CoSENT: Su 2022 (https://kexue.fm/archives/8847); its author's code is bojone/CoSENT.  Only the order of the scores counts, so any
    scale of them will do, and two rows of one score teach nothing.  The rows of all processes are compared.  One sum belongs to the whole
    batch; it is counted once a row, so that rates and metrics mean the same as with other objectives.

    Inputs: ``sentence1, sentence2, score``.
    """

    name: ClassVar[str] = "cosent"
    columns: ClassVar[tuple[Columns, ...]] = ({"sentence1": Role.TEXT, "sentence2": Role.TEXT, "score": Role.NUMBER},)
    separable: ClassVar[bool] = False

    scale: Annotated[float, Field(gt=0)] = 20.0
    """Multiplier of the differences of cosines, 20 as published."""

    def collate(self, rows: list[Row], tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator, head: Any = None) -> Batch:
        sequences = [row["sentence1"] for row in rows] + [row["sentence2"] for row in rows]
        return Batch(sequences, len(rows), {"scores": [row["score"] for row in rows]})

    def loss(self, models: Models, batch: Batch, step: int) -> Loss:
        encoder = models.encoder
        vectors = encoder.embed(batch.sequences)
        with torch.autocast(vectors.device.type, enabled=False):
            vectors = vectors.float()
            cosines = cosine_similarity(vectors[: batch.count], vectors[batch.count :])
            scores = torch.tensor(batch.extra["scores"], device=cosines.device, dtype=cosines.dtype)
            both = encoder.gather(torch.stack([cosines, scores], 1))
            return Loss(ordered(both[:, 0], both[:, 1], self.scale) * batch.count)


def ordered(cosines: torch.Tensor, scores: torch.Tensor, scale: float) -> torch.Tensor:
    """CoSENT's loss of cosines (n,) with scores (n,): a scalar, 0 where no two scores differ."""
    differences = scale * (cosines[None, :] - cosines[:, None])
    meant = scores[:, None] > scores[None, :]
    return torch.logsumexp(torch.cat([differences.new_zeros(1), differences[meant]]), 0)
