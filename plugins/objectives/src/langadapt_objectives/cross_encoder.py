"""Two texts read at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch.nn.functional import binary_cross_entropy_with_logits

from langadapt.contracts import Batch, Columns, Loss, Models, Objective, Role, Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class CrossEncoder(Objective):
    """Binary cross-entropy of one logit a pair, which a classifier on the encoder gives after reading both texts together.

    For reranking (monoBERT; Nogueira & Cho 2019, arXiv:1901.04085, who draw negatives from what BM25 finds): the anchor with its
    positive is 1; with its own hard negative, if it has one, and positives of other rows of the batch, `negatives` in all, it is 0.
    For similarity (as sentence-transformers trains cross-encoders on STS): the score in [0, 1] is the goal.

    Inputs: ``anchor, positive[, negative]``, or ``sentence1, sentence2, score``.  Leaves a scorer.
    """

    name: ClassVar[str] = "cross-encoder"
    columns: ClassVar[tuple[Columns, ...]] = (
        {"anchor": Role.TEXT, "positive": Role.TEXT},
        {"sentence1": Role.TEXT, "sentence2": Role.TEXT, "score": Role.NUMBER},
    )
    prepared: ClassVar[Columns] = {"negative": Role.TEXT}
    leaves: ClassVar[Literal["Encoder", "Scorer"]] = "Scorer"
    separable: ClassVar[bool] = False

    negatives: Annotated[int, Field(ge=1)] = 4
    """Positives of other rows that an anchor is paired with, at most."""

    def prepare(self, data: Any) -> Any:
        found = super().prepare(data)
        return (
            found.add_column("negative", data["negative"]) if "negative" in data.column_names and "anchor" in found.column_names else found
        )

    def collate(self, rows: list[Row], tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator, head: Any = None) -> Batch:
        if "score" in rows[0]:
            left, right = [row["sentence1"] for row in rows], [row["sentence2"] for row in rows]
            return Batch(left, len(rows), {"right": right, "goal": [float(row["score"]) for row in rows]})
        left, right, goal = [], [], []
        for i, row in enumerate(rows):
            others = [k for k in rng.permutation(len(rows)).tolist() if k != i and self._is_wrong(row, rows[k])]
            wrong = [rows[k]["positive"] for k in others[: self.negatives]]
            if row.get("negative"):
                wrong = [row["negative"], *wrong][: self.negatives]
            left += [row["anchor"]] * (1 + len(wrong))
            right += [row["positive"], *wrong]
            goal += [1.0] + [0.0] * len(wrong)
        return Batch(left, len(left), {"right": right, "goal": goal})

    @staticmethod
    def _is_wrong(row: Row, other: Row) -> bool:
        """Whether another row's positive is no answer to this row's anchor."""
        return other["anchor"] != row["anchor"] and other["positive"] not in (row["positive"], row["anchor"])

    def loss(self, models: Models, batch: Batch, step: int) -> Loss:
        logits = models.scorer.score(batch.sequences, batch.extra["right"])
        goal = torch.tensor(batch.extra["goal"], device=logits.device)
        return Loss(binary_cross_entropy_with_logits(logits, goal, reduction="sum"))
