"""An anchor nearer to its positive than to its negative by a margin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch.nn.functional import cosine_similarity, pairwise_distance, relu

from langadapt.contracts import Batch, Columns, Loss, Models, Objective, Role, Row
from langadapt.errors import DataError
from langadapt_objectives.nli_triplets import Anchors, triplets

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast


class Triplet(Objective):
    """``max(0, d(anchor, positive) − d(anchor, negative) + margin)``, the distance Euclidean and the margin 1 as in Reimers & Gurevych 2019
    (arXiv:1908.10084, section 3.2).  sentence-transformers' own default margin is 5.

    Inputs: ``anchor, positive, negative``, or NLI rows ``premise, hypothesis, label``, which are turned into triplets by the rule of
    `anchors`; those without a negative are left out.
    """

    name: ClassVar[str] = "triplet"
    columns: ClassVar[tuple[Columns, ...]] = (
        {"anchor": Role.TEXT, "positive": Role.TEXT, "negative": Role.TEXT},
        {"premise": Role.TEXT, "hypothesis": Role.TEXT, "label": Role.LABEL},
    )

    margin: Annotated[float, Field(gt=0)] = 1.0
    """In units of the distance: a cosine distance is never over 2."""
    distance: Literal["euclidean", "cosine"] = "euclidean"
    anchors: Anchors = "both"
    """Of NLI rows, as in ``multiple-negatives``."""

    def prepare(self, data: Dataset) -> Dataset:
        from langadapt.contracts.reading import from_rows

        given = {"anchor", "positive", "negative"} <= set(data.column_names)
        rows = [row for row in (data if given else triplets(data, self.anchors)) if row["negative"]]
        if not rows:
            raise DataError("no row has a negative: a triplet needs one", hint="Without negatives, train with 'multiple-negatives'.")
        return from_rows([{name: row[name] for name in ("anchor", "positive", "negative")} for row in rows])

    def collate(self, rows: list[Row], tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator, head: Any = None) -> Batch:
        sequences = [row[name] for name in ("anchor", "positive", "negative") for row in rows]
        return Batch(sequences, len(rows))

    def loss(self, models: Models, batch: Batch, step: int) -> Loss:
        vectors = models.encoder.embed(batch.sequences)
        with torch.autocast(vectors.device.type, enabled=False):
            anchors, positives, negatives = vectors.float().chunk(3)
            terms = relu(self._distance(anchors, positives) - self._distance(anchors, negatives) + self.margin)
        return Loss(terms.sum(), {"violated": float((terms > 0).sum())})

    def _distance(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return 1 - cosine_similarity(left, right) if self.distance == "cosine" else pairwise_distance(left, right)
