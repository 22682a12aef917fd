"""Whether one segment follows another in its document."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import cross_entropy

from langadapt.contracts import Batch, Columns, EncoderSpec, Loss, Models, Objective, Role, Row
from langadapt.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast

SENTENCE_END = re.compile(r"(?<=[.!?।॥።។۔؟])\s+|(?<=[。！？])\s*|\n+")


class NextSentence(Objective):
    """Two neighbouring segments of a document, or the first with one of another document: which is it?

    BERT's second objective (Devlin et al. 2019, arXiv:1810.04805): the first token's state through a dense layer and tanh, two classes,
    half of the pairs negative, the second segment under token type 1 where the architecture has types.  BERT adds it to masked language
    modelling; here it is a stage of its own.  A document is cut between two
    sentences in its middle, and its segments are the sentences next to that place.

    Inputs: ``text``, documents of two sentences at least.
    """

    name: ClassVar[str] = "nsp"
    columns: ClassVar[tuple[Columns, ...]] = ({"text": Role.TEXT},)
    prepared: ClassVar[Columns] = {"first": Role.TEXT, "second": Role.TEXT}
    separable: ClassVar[bool] = False

    negatives: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of the pairs whose second segment is another document's."""
    sentences: Annotated[int, Field(ge=1)] = 3
    """Of a segment, at most: those next to the place where the document is cut."""

    def prepare(self, data: Dataset) -> Dataset:
        from langadapt.contracts.reading import from_rows

        rows = []
        for text in data["text"]:
            sentences = [part for part in SENTENCE_END.split(text) if part and part.strip()]
            if len(sentences) > 1:
                half = len(sentences) // 2
                before, after = sentences[max(0, half - self.sentences) : half], sentences[half : half + self.sentences]
                rows.append({"first": " ".join(before), "second": " ".join(after)})
        if len(rows) < 2:
            raise DataError(f"{len(rows)} of {len(data):,} texts have two sentences", hint="Next-sentence prediction needs documents.")
        return from_rows(rows)

    def build(self, spec: EncoderSpec, teacher: EncoderSpec | None = None) -> nn.Module:
        return nn.Sequential(nn.Linear(spec.width, spec.width), nn.Tanh(), nn.Linear(spec.width, 2))

    def collate(self, rows: list[Row], tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator, head: Any = None) -> Batch:
        other = (np.arange(len(rows)) + rng.integers(1, max(2, len(rows)), size=len(rows))) % len(rows)
        wrong = rng.random(len(rows)) < (self.negatives if len(rows) > 1 else 0.0)
        wrong = wrong & np.array([rows[int(k)]["second"] != row["second"] for k, row in zip(other, rows, strict=True)], dtype=bool)
        second = [rows[int(k) if swapped else i]["second"] for i, (k, swapped) in enumerate(zip(other, wrong, strict=True))]
        return Batch([row["first"] for row in rows], len(rows), {"second": second, "goal": wrong.astype(np.int64)})

    def loss(self, models: Models, batch: Batch, step: int) -> Loss:
        states = models.encoder.pair_states(batch.sequences, batch.extra["second"])
        logits = models.head(states.last[:, 0]).float()
        goal = torch.from_numpy(batch.extra["goal"]).to(logits.device)
        right = float((logits.argmax(-1) == goal).float().sum())
        return Loss(cross_entropy(logits, goal, reduction="sum"), {"right": right})
