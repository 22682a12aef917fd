"""Late interaction: a vector a token, compared token by token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from langadapt.contracts import Batch, Columns, EncoderSpec, Loss, Models, Objective, Pooler, Role, Row, States
from langadapt.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class ColbertPooler(Pooler):
    """Each token's last state through one learnt matrix to `dimensions`, scaled to length one; padding gives no vector.

    ColBERT (Khattab & Zaharia 2020, arXiv:2004.12832).  Of its system the markers for queries and documents (give the encoder prompts
    instead), the query's filling up with mask tokens and the leaving out of punctuation are not done here: every real token, special ones
    included, has its vector.
    """

    name: ClassVar[str] = "colbert"
    gives: ClassVar[Literal["dense", "multi"]] = "multi"

    dimensions: Annotated[int, Field(ge=2)] = 128

    def width(self, spec: EncoderSpec) -> int:
        return self.dimensions

    def build(self, spec: EncoderSpec) -> nn.Module:
        return nn.Linear(spec.width, self.dimensions, bias=False)

    def pool(self, states: States, weights: Any = None) -> torch.Tensor:
        found = normalize(weights(states.last.to(weights.weight.dtype)).float(), dim=-1)
        return found * states.mask.unsqueeze(-1)


def maxsim(queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
    """(n, m) sums over a query's tokens of the best dot product with a document's: of (n, T, d) and (m, S, d), absent rows all zero."""
    products = torch.einsum("ntd,msd->nmts", queries, documents)
    there = documents.abs().sum(-1) > 0
    best = products.masked_fill(~there[None, :, None, :], float("-inf")).amax(-1)
    asked = (queries.abs().sum(-1) > 0)[:, None, :]
    return torch.where(asked, best, torch.zeros_like(best)).sum(-1)


class Colbert(Objective):
    """Cross-entropy of an anchor's positive among all candidates of the batch, scored by MaxSim (ColBERT; Khattab & Zaharia 2020,
    arXiv:2004.12832; in-batch negatives as in ColBERTv2, Santhanam et al. 2022, arXiv:2112.01488).

    Needs a pooler that gives a vector a token.  A candidate that is a text of the anchor's own row, or answers an equal anchor, is no
    negative.  On several processes
    each uses the candidates of its own rows.

    Inputs: ``anchor, positive[, negative]``.
    """

    name: ClassVar[str] = "colbert"
    columns: ClassVar[tuple[Columns, ...]] = ({"anchor": Role.TEXT, "positive": Role.TEXT},)
    prepared: ClassVar[Columns] = {"negative": Role.TEXT}
    separable: ClassVar[bool] = False

    scale: Annotated[float, Field(gt=0)] = 1.0
    """Multiplier of the sums."""

    def prepare(self, data: Any) -> Any:
        return data.select_columns([name for name in ("anchor", "positive", "negative") if name in data.column_names])

    def collate(self, rows: list[Row], tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator, head: Any = None) -> Batch:
        positives = [row["positive"] for row in rows]
        others = [row["negative"] for row in rows if row.get("negative")]
        candidates = [*positives, *others]
        owners = [*rows, *[row for row in rows if row.get("negative")]]
        same = np.zeros((len(rows), len(candidates)), dtype=bool)
        for i, row in enumerate(rows):
            for k, text in enumerate(candidates):
                # What answers the same anchor, or is a text of the row itself, is no negative.
                answers = k < len(rows) and owners[k]["anchor"] == row["anchor"]
                same[i, k] = k != i and (answers or text in (row["positive"], row["anchor"]))
        return Batch([*[row["anchor"] for row in rows], *candidates], len(rows), {"same": same})

    @staticmethod
    def _embed(models: Models, batch: Batch) -> torch.Tensor:
        """Vectors of anchors and candidates, each by the module of its role."""
        encoder, n = models.encoder, batch.count
        if encoder.activate is None:
            return encoder.embed(batch.sequences)
        parts = encoder.embed_as("query", batch.sequences[:n]), encoder.embed_as("document", batch.sequences[n:])
        longest = max(part.shape[1] for part in parts)
        return torch.cat([nn.functional.pad(part, (0, 0, 0, longest - part.shape[1])) for part in parts])

    def loss(self, models: Models, batch: Batch, step: int) -> Loss:
        vectors = self._embed(models, batch)
        if vectors.ndim != 3:
            raise ModelError("'colbert' compares token by token", hint="Pool with {pooler: colbert}.")
        with torch.autocast(vectors.device.type, enabled=False):
            logits = self.scale * maxsim(vectors[: batch.count].float(), vectors[batch.count :].float())
            logits = logits.masked_fill(torch.from_numpy(batch.extra["same"]).to(logits.device), float("-inf"))
            goal = torch.arange(batch.count, device=logits.device)
            return Loss(cross_entropy(logits, goal, reduction="sum"))
