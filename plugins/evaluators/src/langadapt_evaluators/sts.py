"""Semantic textual similarity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field
from scipy.stats import rankdata

from langadapt.contracts import Context, Evaluator, Resource, Score
from langadapt.contracts.reading import fetch, sts_rows
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import interval

if TYPE_CHECKING:
    from langadapt.contracts import Embeds


DRAWN = 1000
"""Pairs that a report draws."""


class Sts(Evaluator):
    """Correlation of cosine similarity with human scores, Spearman and Pearson, ×100, with 95 % bootstrap intervals.

    Cer et al. 2017 (arXiv:1708.00055); Spearman as the main figure: Reimers et al. 2016 (C16-1009).  A resource of several files
    gives one task a file.
    """

    name: ClassVar[str] = "sts"
    version: ClassVar[str] = "2"

    data: Resource
    task: str = ""
    """Name in tables and cards; empty takes the resource's (and the file's, if there are several)."""
    samples: Annotated[int, Field(ge=100)] = 1000

    @property
    def test_data(self) -> Resource:
        return self.data

    def without(self, rows: frozenset[int]) -> Sts:
        return self.model_copy(update={"data": self.data.without(rows), "task": f"{self.task or self.data.name}, unseen rows"})

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        paths = fetch(self.data, ctx)
        found: list[Score] = []
        task = self.task or self.data.name
        for path, label in zip(paths, _labels(paths), strict=True):
            found += self._file(path, f"{task} {label}" if len(paths) > 1 else task, encoder, ctx)
        return found

    def _file(self, path: Path, task: str, encoder: Embeds, ctx: Context) -> list[Score]:
        rows = list(sts_rows(self.data, ctx, [path]))
        left, right = [row["sentence1"] for row in rows], [row["sentence2"] for row in rows]
        scores = [row["score"] for row in rows]
        if len(scores) < 2:
            raise DataError(f"{len(scores)} pairs are too few to correlate", where=str(path))
        if len(set(scores)) == 1:
            raise DataError(f"all {len(scores):,} scores are the same: there is nothing to correlate with", where=str(path))
        similar = cosines(encoder, left, right, ctx)
        gold = np.array(scores)
        by_rank, linear = (
            _score(task, metric, function, similar, gold, ctx, self.samples)
            for metric, function in (("spearman", spearman), ("pearson", pearson))
        )
        return [replace(by_rank, drawing=_scatter(gold, similar, ctx)), linear]


def _scatter(gold: np.ndarray, similar: np.ndarray, ctx: Context) -> dict[str, Any]:
    """Points of at most `DRAWN` pairs: what people said against the cosine."""
    rows = np.sort(ctx.rng("drawn pairs").permutation(len(gold))[:DRAWN])
    x, y = ([round(float(value), 4) for value in side[rows]] for side in (gold, similar))
    return {"scatter": {"x": x, "y": y, "x_label": "score by people", "y_label": "cosine"}}


def _labels(paths: Sequence[Path]) -> list[str]:
    """``stsb/mr/dev.tsv.gz`` → ``mr/dev`` beside ``mahasts/dev.tsv``: as many last parts as tell the files apart."""
    for parts in range(1, 5):
        found = ["/".join([*path.parts[-parts:-1], path.name.split(".")[0]]) for path in paths]
        if len(set(found)) == len(found):
            break
    return found


def cosines(encoder: Embeds, left: list[str], right: list[str], ctx: Context) -> np.ndarray:
    """Cosine of each pair (n,); a text that occurs often is encoded once."""
    texts = list(dict.fromkeys([*left, *right]))
    place = {text: i for i, text in enumerate(texts)}
    vectors = encoder.encode(texts, progress=ctx.log, normalize=True)
    a, b = vectors[[place[t] for t in left]], vectors[[place[t] for t in right]]
    found: np.ndarray = (a * b).sum(1)
    return found


def _score(task: str, metric: str, function: Any, x: np.ndarray, y: np.ndarray, ctx: Context, samples: int) -> Score:
    rng = ctx.rng(f"bootstrap {task} {metric}")
    low, high, drawn = interval(lambda rows: function(x[rows], y[rows]), len(x), rng, samples)
    return Score(task, metric, 100 * function(x, y), 100 * low, 100 * high, len(x), resampled=100 * drawn)


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's r; nan where one side is constant."""
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / scale) if scale > 0 else float("nan")


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's r of the ranks, ties sharing their mean rank."""
    return pearson(rankdata(x), rankdata(y))
