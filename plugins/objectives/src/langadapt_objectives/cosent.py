"""Cosines in the order of their scores: CoSENT."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field

from langadapt.contracts import Batch, Loss, Models
from langadapt_objectives.sts import CosineSts, cosines_and_scores


class Cosent(CosineSts):
    """``log(1 + Σ exp(scale · (cos_j − cos_i)))`` over all pairs of rows i, j of the batch where i has the higher score.

    CoSENT: Su 2022 (https://kexue.fm/archives/8847); its author's code is bojone/CoSENT.  Only the order of the scores counts, so any
    scale of them will do, and two rows of one score teach nothing.  The rows of all processes are compared.  One sum belongs to the whole
    batch; it is counted once a row, so that rates and metrics mean the same as with other objectives.

    Inputs: ``sentence1, sentence2, score``.
    """

    name: ClassVar[str] = "cosent"
    separable: ClassVar[bool] = False

    scale: Annotated[float, Field(gt=0)] = 20.0
    """Multiplier of the differences of cosines, 20 as published."""

    def loss(self, models: Models, batch: Batch, step: int) -> Loss:
        both = models.encoder.gather(torch.stack(cosines_and_scores(models, batch), 1))
        return Loss(ordered(both[:, 0], both[:, 1], self.scale) * batch.count)


def ordered(cosines: torch.Tensor, scores: torch.Tensor, scale: float) -> torch.Tensor:
    """CoSENT's loss of cosines (n,) with scores (n,): a scalar, 0 where no two scores differ."""
    differences = scale * (cosines[None, :] - cosines[:, None])
    meant = scores[:, None] > scores[None, :]
    return torch.logsumexp(torch.cat([differences.new_zeros(1), differences[meant]]), 0)
