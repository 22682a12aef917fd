"""Similarity of sentences by their tokens: each token matched with its most similar one on the other side."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from langadapt.contracts import Context, Embeds, Evaluator, Resource, Score
from langadapt.contracts.reading import sts_rows
from langadapt.contracts.text import token_ids
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import interval
from langadapt_evaluators.sts import pearson, spearman

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCK = 256
"""Pairs whose token states are in memory at once."""


class BertScore(Evaluator):
    """Correlation of BERTScore's F1 with human scores, Spearman and Pearson, ×100, with 95 % bootstrap intervals.

    Zhang et al. 2020 (arXiv:1904.09675): precision is the mean over the first sentence's tokens of the greatest cosine with a token of the
    second, recall the same the other way round, F1 their harmonic mean.  As in the authors' package (bert-score) special tokens may be
    matched and do not count, and `idf` weighs tokens by log((n + 1) / (df + 1)) over the second sentences.  The best layer differs by
    encoder: choose `layer` on a dev set.  Rescaling by a baseline moves every value alike and changes no correlation.
    """

    name: ClassVar[str] = "bertscore"

    data: Resource
    task: str = ""
    layer: int | None = None
    """Whose states are compared; None takes the last, 0 what goes into the first block."""
    idf: bool = False
    samples: Annotated[int, Field(ge=100)] = 1000

    @property
    def test_data(self) -> Resource:
        return self.data

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        rows = list(sts_rows(self.data, ctx))
        gold = np.array([row["score"] for row in rows])
        if len(rows) < 2 or len(set(gold.tolist())) == 1:
            raise DataError(f"{len(rows)} pairs with {len(set(gold.tolist()))} different scores tell nothing", where=self.data.name)
        chosen = encoder if self.layer is None else encoder.at_layer(self.layer)
        found = similarity(chosen, [row["sentence1"] for row in rows], [row["sentence2"] for row in rows], self.idf, ctx)
        task = f"{self.task or self.data.name} bertscore"
        scores = []
        for metric, function in (("spearman", spearman), ("pearson", pearson)):
            low, high, drawn = interval(
                lambda drawn, function=function: function(found[drawn, 2], gold[drawn]),  # type: ignore[misc]
                len(gold),
                ctx.rng(f"bootstrap {task} {metric}"),
                self.samples,
            )
            scores.append(Score(task, metric, 100 * function(found[:, 2], gold), 100 * low, 100 * high, len(gold), resampled=100 * drawn))
        return scores


def similarity(encoder: Embeds, left: Sequence[str], right: Sequence[str], idf: bool, ctx: Context) -> np.ndarray:
    """Precision, recall and F1 of pairs of texts: (n, 3)."""
    length = encoder.settings.max_length
    ids = [[one[:length] for one in token_ids(encoder.tokenizer, list(texts), special_tokens=True)] for texts in (left, right)]
    special = set(encoder.tokenizer.all_special_ids)
    weights = inverse_frequencies(ids[1]) if idf else None
    unseen = float(np.log(len(right) + 1))

    def weigh(sequence: list[int]) -> np.ndarray:
        return np.array([0.0 if i in special else 1.0 if weights is None else weights.get(i, unseen) for i in sequence])

    found = np.zeros((len(left), 3))
    for start in range(0, len(left), BLOCK):
        block = [side[start : start + BLOCK] for side in ids]
        states = [encoder.token_states(side, progress=ctx.log) for side in block]
        for i, (a, b) in enumerate(zip(*states, strict=True)):
            found[start + i] = greedy(a, b, weigh(block[0][i]), weigh(block[1][i]))
    return found


def inverse_frequencies(sequences: Sequence[Sequence[int]]) -> dict[int, float]:
    """Token → log((n + 1) / (df + 1)), df the sequences that have it."""
    counts = Counter(token for sequence in sequences for token in set(sequence))
    return {token: float(np.log((len(sequences) + 1) / (count + 1))) for token, count in counts.items()}


def greedy(a: np.ndarray, b: np.ndarray, a_weights: np.ndarray, b_weights: np.ndarray) -> tuple[float, float, float]:
    """Precision, recall and F1 of token states (T, d) and (S, d), tokens weighted (T,) and (S,); 0 where nothing counts."""
    a = a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-12)
    b = b / np.maximum(np.linalg.norm(b, axis=1, keepdims=True), 1e-12)
    cosines = a @ b.T
    precision = float((a_weights * cosines.max(1)).sum() / max(a_weights.sum(), 1e-12))
    recall = float((b_weights * cosines.max(0)).sum() / max(b_weights.sum(), 1e-12))
    both = precision + recall
    return precision, recall, 2 * precision * recall / both if both > 0 else 0.0
