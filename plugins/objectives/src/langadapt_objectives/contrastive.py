"""Multiple-negatives ranking: every other pair of the batch is a negative."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch.nn.functional import cross_entropy, normalize

from langadapt.contracts import Batch, Columns, Loss, Models, Objective, Role, Row, TrainableEncoder
from langadapt.errors import DataError
from langadapt_objectives.nli_triplets import Anchors, triplets

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast


class MultipleNegatives(Objective):
    """Cross-entropy over scaled cosines of an anchor with all positives and hard negatives of the batch.

    Henderson et al. 2017 (arXiv:1705.00652); on NLI with entailment as positive and contradiction as hard negative as in
    Reimers & Gurevych 2019 (arXiv:1908.10084) and Joshi et al. 2022 (arXiv:2211.11187).  Candidates of all processes take
    part.  A candidate whose text equals the anchor's or its positive's is no negative and is masked out (NLI data repeat
    premises and hypotheses).

    Inputs: ``anchor, positive[, negative]``, or NLI rows ``premise, hypothesis, label``, which are turned into triplets
    by the rule of `anchors`.
    """

    name: ClassVar[str] = "multiple-negatives"
    version: ClassVar[str] = "2"
    columns: ClassVar[tuple[Columns, ...]] = (
        {"anchor": Role.TEXT, "positive": Role.TEXT},
        {"premise": Role.TEXT, "hypothesis": Role.TEXT, "label": Role.LABEL},
    )
    prepared: ClassVar[Columns] = {"negative": Role.TEXT}
    separable: ClassVar[bool] = False

    scale: Annotated[float, Field(gt=0)] = 20.0
    """Multiplier of the cosines: the inverse of the temperature."""
    anchors: Anchors = "both"
    """Of NLI rows: ``both`` anchors every text that has something entailed and something contradicted, in either direction, twice (the
    authors' rule); ``premise`` anchors the premise of every entailed hypothesis, half as many rows."""

    def prepare(self, data: Dataset) -> Dataset:
        if {"anchor", "positive"} <= set(data.column_names):
            return data
        rows = triplets(data, self.anchors)
        if not rows:
            raise DataError("no row is labelled 'entailment', so there are no positives to learn from")
        from langadapt.contracts.reading import from_rows

        return from_rows(rows)

    def collate(self, rows: list[Row], tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator, head: Any = None) -> Batch:
        anchors = [row["anchor"] for row in rows]
        positives = [row["positive"] for row in rows]
        negatives = [row["negative"] for row in rows if row.get("negative")]
        return Batch(anchors + positives + negatives, len(rows), {"pairs": len(rows)})

    def loss(self, models: Models, batch: Batch, step: int) -> Loss:
        encoder = models.encoder
        n = batch.extra["pairs"]
        if encoder.activate is None:
            vectors = _embed(encoder, batch.sequences, None)
        else:  # anchors and candidates are read by different modules
            parts = (("query", batch.sequences[:n]), ("document", batch.sequences[n:]))
            vectors = torch.cat([_embed(encoder, sequences, role) for role, sequences in parts])
        marks = _marks(batch.sequences, vectors.device)
        with torch.autocast(vectors.device.type, enabled=False):  # cosines times 20 need more than 8 bits
            vectors = normalize(vectors.float(), dim=-1)
            anchors = encoder.gather(torch.cat([vectors[:n], marks[:n].float()], 1))
            own = encoder.gather(torch.cat([vectors[n : 2 * n], marks[n : 2 * n].float()], 1))
            hard = encoder.gather(torch.cat([vectors[2 * n :], marks[2 * n :].float()], 1))
            candidates = torch.cat([own, hard])
            width = vectors.shape[1]
            logits = self.scale * anchors[:, :width] @ candidates[:, :width].T
            same = _equal(candidates[:, width:], anchors[:, width:]) | _equal(candidates[:, width:], own[:, width:])
            mine = torch.eye(len(anchors), len(candidates), dtype=torch.bool, device=logits.device)
            logits = logits.masked_fill(same.T & ~mine, float("-inf"))
            target = torch.arange(len(anchors), device=logits.device)
            # The mean over all anchors of all processes, as a sum over this process's count.
            total = cross_entropy(logits, target, reduction="mean") * n
        return Loss(total)


def _embed(encoder: TrainableEncoder, sequences: list[list[int]], role: str | None) -> torch.Tensor:
    """Vectors (n, d) of token-id sequences, each distinct one encoded once."""
    unique, where = _unique(sequences)
    vectors = encoder.embed(unique) if role is None else encoder.embed_as(role, unique)
    return vectors[where]


def _unique(sequences: list[list[int]]) -> tuple[list[list[int]], list[int]]:
    """Distinct sequences and, for each given one, its place among them: a repeated premise is encoded once."""
    places: dict[tuple[int, ...], int] = {}
    where = [places.setdefault(tuple(ids), len(places)) for ids in sequences]
    return [list(ids) for ids in places], where


def _marks(sequences: list[list[int]], device: torch.device) -> torch.Tensor:
    """(n, 2) 20-bit marks of each text, exact in float32 and equal for equal texts on every process."""
    import hashlib

    found = []
    for ids in sequences:
        digest = int.from_bytes(hashlib.blake2b(np.asarray(ids, np.int64).tobytes(), digest_size=5).digest(), "big")
        found.append([digest >> 20, digest & 0xFFFFF])
    return torch.tensor(found, device=device)


def _equal(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """(n_left, n_right) bool: same marks."""
    return (left[:, None] == right[None]).all(-1)
