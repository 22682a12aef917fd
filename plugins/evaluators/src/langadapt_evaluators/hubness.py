"""Whether some texts are among the nearest neighbours of far too many others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from langadapt.contracts import Context, Evaluator, Resource, Score
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import interval
from langadapt_evaluators.isotropy import read_texts

if TYPE_CHECKING:
    from langadapt.contracts import Embeds

ROWS = 1024
"""Texts compared with all others at once."""


class Hubness(Evaluator):
    """How unevenly texts occur among the `k` nearest neighbours, by cosine, of the other texts of a corpus.

    - ``skewness`` of the occurrences (Radovanović, Nanopoulos & Ivanović 2010, JMLR 11): 0 is even, above 1 there are hubs;
    - ``Robin Hood`` (Feldbauer et al. 2018): the share of occurrences, ×100, that would have to be given away for all to have as many;
    - ``antihubs``: the share of texts, ×100, that are nobody's neighbour.

    95 % intervals resample texts with their occurrences; neighbours are those among all texts.  Hubs grow with the number of texts:
    compare at equal numbers.
    """

    name: ClassVar[str] = "hubness"

    data: Resource
    task: str = ""
    k: Annotated[int, Field(ge=1)] = 10
    texts: Annotated[int, Field(ge=50)] = 5000
    """Texts drawn from the resource at most."""
    samples: Annotated[int, Field(ge=100)] = 1000

    @property
    def test_data(self) -> Resource:
        return self.data

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        texts = list(dict.fromkeys(read_texts(self.data, ctx)))
        places = sorted(ctx.rng("hubness texts").permutation(len(texts))[: self.texts])
        if len(places) < max(50, 5 * self.k):
            raise DataError(f"{len(places)} distinct texts are too few for {self.k} neighbours each", where=self.data.name)
        vectors = encoder.encode([texts[i] for i in places], normalize=True, progress=ctx.log)
        counts = occurrences(vectors, self.k)
        task = f"hubness {self.task or self.data.name}"
        found = []
        for metric, (measure, scale, unit) in MEASURES.items():
            value = scale * measure(counts)

            def on(rows: np.ndarray, measure: Callable[[np.ndarray], float] = measure) -> float:
                return measure(counts[rows])

            low, high, drawn = interval(on, len(counts), ctx.rng(f"bootstrap {task} {metric}"), self.samples)
            found.append(Score(task, metric, value, scale * low, scale * high, len(counts), unit, False, scale * drawn))
        return found


def occurrences(vectors: np.ndarray, k: int) -> np.ndarray:
    """(n,) how often each of the unit rows (n, d) is among the k nearest others of a row; of equally near ones the first."""
    counts = np.zeros(len(vectors), dtype=np.int64)
    for start in range(0, len(vectors), ROWS):
        cosines = vectors[start : start + ROWS] @ vectors.T
        rows = np.arange(len(cosines))
        cosines[rows, start + rows] = -np.inf
        near = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        counts += np.bincount(near.ravel(), minlength=len(vectors))
    return counts


def skewness(counts: np.ndarray) -> float:
    """Third central moment over the cubed deviation; 0 for equal counts."""
    centred = counts - counts.mean()
    spread = np.sqrt((centred**2).mean())
    return float((centred**3).mean() / spread**3) if spread > 0 else 0.0


def robin_hood(counts: np.ndarray) -> float:
    """Half of the absolute deviations from the mean, over the sum."""
    return float(np.abs(counts - counts.mean()).sum() / (2 * max(counts.sum(), 1)))


def antihubs(counts: np.ndarray) -> float:
    """Share of zeros."""
    return float((counts == 0).mean())


MEASURES: dict[str, tuple[Callable[[np.ndarray], float], int, str]] = {
    "skewness": (skewness, 1, "skewness"),
    "Robin Hood": (robin_hood, 100, "×100"),
    "antihubs": (antihubs, 100, "×100"),
}
