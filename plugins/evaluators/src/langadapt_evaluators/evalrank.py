"""Pairs that mean the same, as a search for one half among many sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from langadapt.contracts import Context, Evaluator, Resource, Score
from langadapt.contracts.reading import sts_rows
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import interval
from langadapt_evaluators.isotropy import read_texts

if TYPE_CHECKING:
    from langadapt.contracts import Embeds

BLOCK = 1024
"""Pairs ranked at once."""


class EvalRank(Evaluator):
    """Mean reciprocal rank and hits of the second sentence of pairs that mean the same, among all sentences, ×100, with 95 % intervals.

    Wang, Kuo & Li 2022 (arXiv:2203.02679): correlation with scores of similarity tells little of how vectors serve; the place of what is
    really alike does.  As in the authors' code (BinWang28/EvalRank-Embedding-Evaluation, c6422db) vectors are centred and scaled to length
    one, the first sentence is among the candidates and its own place is not counted.  Equal cosines rank before the right one here, and
    behind it there.  Their pairs are fixed files of STS-b; here they are the rows with a score of `least` or more, and the candidates all
    sentences of the data and of `background`.
    """

    name: ClassVar[str] = "evalrank"

    data: Resource
    background: Resource | None = None
    """Texts that are candidates too."""
    task: str = ""
    least: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Score, of 0 to 1, from which a pair means the same."""
    centred: bool = True
    samples: Annotated[int, Field(ge=100)] = 1000

    @property
    def test_data(self) -> Resource:
        return self.data

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        rows = list(sts_rows(self.data, ctx))
        alike = [(row["sentence1"], row["sentence2"]) for row in rows if row["score"] >= self.least]
        alike = [pair for pair in dict.fromkeys(alike) if pair[0] != pair[1]]
        if len(alike) < 10:
            raise DataError(f"{len(alike)} pairs have a score of {self.least:g} or more", where=self.data.name, hint="Lower 'least'.")
        more = read_texts(self.background, ctx) if self.background is not None else []
        texts = list(dict.fromkeys([*(row[name] for name in ("sentence1", "sentence2") for row in rows), *more]))
        vectors = encoder.encode(texts, normalize=False, progress=ctx.log)
        place = {text: i for i, text in enumerate(texts)}
        pairs = np.array([(place[a], place[b]) for a, b in alike])
        return self._scores(ranks(directions(vectors, self.centred), pairs), ctx)

    def _scores(self, found: np.ndarray, ctx: Context) -> list[Score]:
        task = f"{self.task or self.data.name} evalrank"
        measures = {"mrr": 1 / found, "hits@1": (found <= 1).astype(float), "hits@3": (found <= 3).astype(float)}
        scores = []
        for metric, values in measures.items():
            low, high, drawn = interval(
                lambda rows, values=values: float(values[rows].mean()),  # type: ignore[misc]
                len(values),
                ctx.rng(f"bootstrap {task} {metric}"),
                self.samples,
            )
            value, items = 100 * float(values.mean()), 100 * values
            scores.append(Score(task, metric, value, 100 * low, 100 * high, len(values), resampled=100 * drawn, items=items))
        return scores


def directions(vectors: np.ndarray, centred: bool) -> np.ndarray:
    """Rows (n, d) less their mean, if asked, scaled to length one."""
    found = vectors - vectors.mean(0) if centred else vectors
    units: np.ndarray = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    return units


def ranks(units: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(m,) 1-based place of each pair's second row among all rows but the first, by cosine with the first; behind equal ones."""
    found = np.empty(len(pairs))
    for start in range(0, len(pairs), BLOCK):
        part = pairs[start : start + BLOCK]
        cosines = units[part[:, 0]] @ units.T
        rows = np.arange(len(part))
        own = cosines[rows, part[:, 1]].copy()
        cosines[rows, part[:, 0]] = -np.inf
        found[start : start + BLOCK] = (cosines >= own[:, None]).sum(1)
    return found
