"""The best passages of a first search, put into a better order."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from langadapt.contracts import Context, Scores
from langadapt_evaluators.bm25 import bm25_scores
from langadapt_evaluators.retrieval import Retrieval, Search


class Rerank(Retrieval):
    """The measures of ``retrieval`` after BM25's first `candidates` passages were put into the order of a scorer, or of an encoder's
    cosines (Nogueira & Cho 2019, arXiv:1901.04085).

    What BM25 did not find stays where BM25 put it, behind the candidates: the recall among them bounds every figure.
    """

    name: ClassVar[str] = "rerank"
    version: ClassVar[str] = "1"
    subjects: ClassVar[frozenset[str]] = frozenset({"Encoder", "Scorer"})

    candidates: Annotated[int, Field(ge=2)] = 30

    def _label(self) -> str:
        return f"{super()._label()} rerank"

    def _ranks(self, encoder: Any, search: Search, ctx: Context) -> list[np.ndarray]:
        first = bm25_scores(search)
        chosen = [_found(scores, self.candidates) for scores in first]
        found = self._scored(encoder, search.queries, search.passages, chosen, ctx)
        ranks = []
        for scores, near, better, good in zip(first, chosen, found, search.grades, strict=True):
            # Candidates stand above all others whatever their new scores are.
            order = scores - scores[np.isfinite(scores)].max() - 1
            if len(near):
                order[near] = better - better.min() + 1
            ranks.append(np.array([int((order >= order[one]).sum()) for one in good]))
        return ranks

    @staticmethod
    def _scored(encoder: Any, queries: list[str], passages: list[str], chosen: list[np.ndarray], ctx: Context) -> list[np.ndarray]:
        if isinstance(encoder, Scores):
            pairs = [(query, passages[k]) for query, near in zip(queries, chosen, strict=True) for k in near]
            return np.split(encoder.score(pairs, progress=ctx.log), np.cumsum([len(near) for near in chosen])[:-1])
        asked = encoder.encode(queries, adapter=encoder.role("query"), normalize=True, progress=ctx.log)
        used = sorted({int(k) for near in chosen for k in near})
        given = encoder.encode([passages[k] for k in used], adapter=encoder.role("document"), normalize=True, progress=ctx.log)
        place = {k: i for i, k in enumerate(used)}
        return [given[[place[int(k)] for k in near]] @ vector for near, vector in zip(chosen, asked, strict=True)]


def _found(scores: np.ndarray, most: int) -> np.ndarray:
    """Places of the passages that a search found, best first; one that shares no word with the query is not found."""
    order = np.argsort(-scores, kind="stable")[:most]
    found: np.ndarray = order[scores[order] > 0]
    return found
