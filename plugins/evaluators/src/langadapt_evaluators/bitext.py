"""Whether a sentence's translation is its nearest neighbour: retrieval and mining across two languages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from langadapt.contracts import Context, Evaluator, Resource, Score
from langadapt.contracts.reading import held_out, read_parallel
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import interval, mean_score

if TYPE_CHECKING:
    from langadapt.contracts import Embeds

ROWS = 1024
"""Sentences compared with all others at once: what bounds the memory, 4 KB a sentence of the other side."""


class Bitext(Evaluator):
    """How well translations find one another, ×100, with 95 % intervals over sentences.

    - ``accuracy`` and ``accuracy-back``: share of the source's (target's) sentences whose nearest neighbour by cosine on the other side is
      their translation (Artetxe & Schwenk 2019, arXiv:1812.10464, on Tatoeba);
    - ``margin-accuracy``: the same by ratio margin over the `k` nearest neighbours of both (Artetxe & Schwenk 2019, arXiv:1811.01136);
    - ``f1``: mining by that margin when a share of the targets (`alone`) is taken away, so that there is something to refuse.  The
      threshold is the best one on a fifth of the sentences, which are not scored.

    A neighbour whose text equals the translation's is right.  Repeated pairs count once.
    """

    name: ClassVar[str] = "bitext"

    data: Resource
    task: str = ""
    k: Annotated[int, Field(ge=1)] = 4
    alone: Annotated[float, Field(gt=0, lt=1)] = 0.5
    samples: Annotated[int, Field(ge=100)] = 1000

    @property
    def test_data(self) -> Resource:
        return self.data

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        pairs = list(dict.fromkeys(read_parallel(self.data, ctx)))
        if len(pairs) < 10 * self.k:
            raise DataError(f"{len(pairs)} pairs are too few to look for neighbours in", where=self.data.name)
        left, right = ([pair[side] for pair in pairs] for side in (0, 1))
        a, b = (encoder.encode(texts, progress=ctx.log, normalize=True) for texts in (left, right))
        near = Neighbours(a, b, self.k)
        rights = {
            "accuracy": _same(near.best, right),
            "accuracy-back": _same(near.best_back, left),
            "margin-accuracy": _same(near.best_by_margin, right),
        }
        task = self.task or self.data.name
        found = []
        for metric, values in rights.items():
            rng = ctx.rng(f"bootstrap {task} {metric}")
            found.append(mean_score(task, metric, 100.0 * values, rng, self.samples))
        return [*found, self._mined(task, a, b, left, right, ctx)]

    def _mined(self, task: str, a: np.ndarray, b: np.ndarray, left: list[str], right: list[str], ctx: Context) -> Score:
        """F1 of the pairs over a margin, of those that are there."""
        kept = np.sort(ctx.rng("bitext alone").permutation(len(b))[: max(self.k, round((1 - self.alone) * len(b)))])
        near = Neighbours(a, b[kept], self.k)
        texts = [right[i] for i in kept]
        there = set(texts)
        paired = np.array([text in there for text in right])
        hit = np.array([texts[j] == right[i] for i, j in enumerate(near.best_by_margin)])
        dev = np.array([held_out(text, 0.2) for text in left])
        threshold = best_threshold(near.margin[dev], hit[dev], int(paired[dev].sum()))
        taken, right_ones, wanted = near.margin[~dev] >= threshold, hit[~dev], paired[~dev]

        def f1(rows: np.ndarray) -> float:
            both = taken[rows].sum() + wanted[rows].sum()
            return float(2 * (taken & right_ones)[rows].sum() / both) if both else 0.0

        low, high, drawn = interval(f1, len(taken), ctx.rng(f"bootstrap {task} f1"), self.samples)
        value = f1(np.arange(len(taken)))
        return Score(task, "f1", 100 * value, 100 * low, 100 * high, len(taken), resampled=100 * drawn)


class Neighbours:
    """Nearest neighbours among unit vectors, of every row of a (n, d) in b (m, d).

    ``best``, ``best_by_margin`` (n,) and ``best_back`` (m,) are places, ``margin`` (n,) the best ratio margin.
    """

    def __init__(self, a: np.ndarray, b: np.ndarray, k: int) -> None:
        self.best, around = _nearest(a, b, k)
        self.best_back, around_back = _nearest(b, a, k)
        self.best_by_margin, self.margin = np.zeros(len(a), dtype=np.int64), np.zeros(len(a))
        for start in range(0, len(a), ROWS):
            rows = slice(start, start + ROWS)
            # Where neighbours on average are at a right angle or beyond, a ratio says nothing: the floor keeps its sign.
            ratio = (a[rows] @ b.T) / np.maximum((around[rows, None] + around_back[None, :]) / 2, 1e-6)
            self.best_by_margin[rows] = ratio.argmax(1)
            self.margin[rows] = ratio.max(1)


def _nearest(a: np.ndarray, b: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest row of b for each of a (n,), and the mean cosine of its k nearest (n,)."""
    best, around = np.zeros(len(a), dtype=np.int64), np.zeros(len(a), dtype=np.float32)
    for start in range(0, len(a), ROWS):
        cosines = a[start : start + ROWS] @ b.T
        best[start : start + ROWS] = cosines.argmax(1)
        around[start : start + ROWS] = np.partition(cosines, len(b) - k, axis=1)[:, len(b) - k :].mean(1)
    return best, around


def _same(places: np.ndarray, texts: list[str]) -> np.ndarray:
    """(n,) whether the text at each place is the one that belongs there."""
    return np.array([texts[place] == text for place, text in zip(places.tolist(), texts, strict=True)])


def best_threshold(margins: np.ndarray, right: np.ndarray, there: int) -> float:
    """The margin from which on taking candidates gives the best F1, of candidates (n,) of which `there` can be found."""
    order = np.argsort(-margins, kind="stable")
    hits = np.cumsum(right[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + max(1, there))
    return float(margins[order[int(f1.argmax())]]) if len(order) else 0.0
