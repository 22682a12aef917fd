"""Finding the passage that answers a query, by exact search."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from langadapt.contracts import Context, Score
from langadapt.contracts.reading import fetch
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import interval
from langadapt_evaluators.questions import Questions

if TYPE_CHECKING:
    from langadapt.contracts import Embeds

BLOCK = 1 << 25
"""Similarities held at once (128 MB of float32): so many queries are compared with all passages in one step."""


@dataclass(frozen=True)
class Search:
    """Queries, the passages to search among, and what is to be found."""

    queries: list[str]
    passages: list[str]
    grades: list[dict[int, float]]
    """For each query: place of a relevant passage → its grade."""
    own: list[int | None]
    """For each query the place of the passage that is the query itself, which is not searched."""


class Retrieval(Questions):
    """Rank all passages by cosine and score where the right ones stand: MRR, nDCG and recall at k, accuracy at 1, ×100.

    Thakur et al. 2021 (BEIR, arXiv:2104.08663).  95 % intervals by bootstrap over queries.  Equal cosines count as ranked behind: an
    encoder that maps everything to one point scores nothing.  Where an encoder has an adapter for queries and another for
    documents, each is used for its own.
    """

    name: ClassVar[str] = "retrieval"
    version: ClassVar[str] = "2"

    passages: Literal["all", "held-out"] = "all"
    """Search among all passages, or among the held-out ones."""
    k: Annotated[int, Field(ge=1)] = 10
    samples: Annotated[int, Field(ge=100)] = 1000

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        found, held, queries = self.asked(ctx)
        names = [name for name in found.passages if not self.held_out or self.passages == "all" or name in held]
        if len(queries) < 2 or len(names) < 2:
            raise DataError(
                f"{len(queries)} queries and {len(names)} passages are too few to score", where=", ".join(map(str, fetch(self.data, ctx)))
            )
        place = {name: i for i, name in enumerate(names)}
        grades = [{place[name]: grade for name, grade in found.relevant[q].items()} for q in queries]
        # As BEIR does: where queries are taken from among the passages (ArguAna, Quora), none finds itself.
        own = [place[q] if q in place and q not in found.relevant[q] else None for q in queries]
        search = Search([found.queries[q] for q in queries], [found.passages[n] for n in names], grades, own)
        ranks = self._ranks(encoder, search, ctx)
        return self._scores(ranks, grades, self._label(), ctx)

    def _label(self) -> str:
        return self.task or self.data.name

    def _ranks(self, encoder: Embeds, search: Search, ctx: Context) -> list[np.ndarray]:
        """For each query the 1-based ranks of its relevant passages, in the order of its grades."""
        ranks = []
        for start, cosines in self._similarities(encoder, search.queries, search.passages, ctx):
            end = start + len(cosines)
            for row, good, itself in zip(cosines, search.grades[start:end], search.own[start:end], strict=True):
                if itself is not None:
                    row[itself] = -np.inf
                ranks.append(np.array([int((row >= row[one]).sum()) for one in good]))
        return ranks

    @staticmethod
    def _similarities(encoder: Embeds, queries: list[str], passages: list[str], ctx: Context) -> Iterator[tuple[int, np.ndarray]]:
        """(first query, (queries, passages) similarities), block by block: cosines, or MaxSim of encoders that give a vector a token."""
        size = max(1, BLOCK // max(len(passages), 1))
        if encoder.gives == "multi":
            many, others = encoder.encode_multi(queries, progress=ctx.log), encoder.encode_multi(passages, progress=ctx.log)
            for start in range(0, len(queries), size):
                yield start, many.part(start, min(start + size, len(queries))).maxsim(others)
            return
        asked = encoder.encode(queries, adapter=encoder.role("query"), normalize=True, progress=ctx.log)
        given = encoder.encode(passages, adapter=encoder.role("document"), normalize=True, progress=ctx.log)
        for start in range(0, len(asked), size):
            yield start, asked[start : start + size] @ given.T

    def _scores(self, ranks: list[np.ndarray], grades: list[dict[int, float]], task: str, ctx: Context) -> list[Score]:
        k = self.k
        by_query = {
            f"mrr@{k}": np.array([1 / best if (best := found.min()) <= k else 0.0 for found in ranks]),
            f"ndcg@{k}": np.array([_ndcg(found, np.array(list(good.values())), k) for found, good in zip(ranks, grades, strict=True)]),
            f"recall@{k}": np.array([(found <= k).sum() / min(len(found), k) for found in ranks]),
            "accuracy@1": np.array([float((found == 1).any()) for found in ranks]),
        }
        return [_score(task, metric, values, ctx, self.samples) for metric, values in by_query.items()]


def _ndcg(ranks: np.ndarray, grades: np.ndarray, k: int) -> float:
    """Järvelin & Kekäläinen 2002, with linear gains as in trec_eval."""
    gained = (grades / np.log2(1 + ranks))[ranks <= k].sum()
    best = (np.sort(grades)[::-1][:k] / np.log2(1 + np.arange(1, min(len(grades), k) + 1))).sum()
    return float(gained / best)


def _score(task: str, metric: str, values: np.ndarray, ctx: Context, samples: int) -> Score:
    low, high, drawn = interval(lambda rows: float(values[rows].mean()), len(values), ctx.rng(f"bootstrap {task} {metric}"), samples)
    return Score(task, metric, 100 * float(values.mean()), 100 * low, 100 * high, len(values), resampled=100 * drawn, items=100 * values)
