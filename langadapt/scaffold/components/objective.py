"""What training makes better."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from langadapt.contracts import Batch, Columns, Loss, Models, Objective, Role, Row

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    from transformers import PreTrainedTokenizerFast


class Example(Objective):
    """A pair must be nearer than the anchor's hardest other positive, by a margin (VSE++; Faghri et al. 2018, arXiv:1707.05612)."""

    name: ClassVar[str] = "example"
    columns: ClassVar[tuple[Columns, ...]] = ({"anchor": Role.TEXT, "positive": Role.TEXT},)
    separable: ClassVar[bool] = False  # rows are one another's negatives: a batch is never cut

    margin: Annotated[float, Field(gt=0, le=2)] = 0.2

    def collate(self, rows: list[Row], tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator, head: Any = None) -> Batch:
        return Batch([row["anchor"] for row in rows] + [row["positive"] for row in rows], len(rows))

    def loss(self, models: Models, batch: Batch, step: int) -> Loss:
        import torch
        from torch.nn.functional import normalize

        vectors = normalize(models.encoder.embed(batch.sequences), dim=1)
        cosines = vectors[: batch.count] @ vectors[batch.count :].T
        others = cosines.masked_fill(torch.eye(batch.count, dtype=torch.bool, device=cosines.device), -1.0)
        return Loss((self.margin + others.max(1).values - cosines.diagonal()).clamp(min=0).sum())
