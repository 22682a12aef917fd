"""BM25 beside an encoder: what word overlap alone finds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from langadapt.contracts import Context
from langadapt_evaluators.retrieval import Retrieval, Search

if TYPE_CHECKING:
    from langadapt.contracts import Embeds


class Bm25(Retrieval):
    """The same search and measures as ``retrieval``, ranked by BM25 (Robertson & Zaragoza 2009) in place of vectors.

    Scores come from the library bm25s (Lù 2024, arXiv:2407.03618) over lower-cased words; k₁ 1.5, b 0.75.  The encoder plays no part,
    so every column says the same.
    """

    name: ClassVar[str] = "bm25"
    version: ClassVar[str] = "2"

    def _label(self) -> str:
        return f"{super()._label()} bm25"

    def _ranks(self, encoder: Embeds, search: Search, ctx: Context) -> list[np.ndarray]:
        pairs = zip(bm25_scores(search), search.grades, strict=True)
        return [np.array([int((scores >= scores[one]).sum()) for one in good]) for scores, good in pairs]


def bm25_scores(search: Search) -> list[np.ndarray]:
    """BM25 scores (passages,) of each query; the passage that is a query itself has none."""
    import bm25s

    model = bm25s.BM25(k1=1.5, b=0.75)
    model.index([_words(text) for text in search.passages], show_progress=False)
    found = []
    for query, itself in zip(search.queries, search.own, strict=True):
        known = [word for word in _words(query) if word in model.vocab_dict]
        scores = model.get_scores(known) if known else np.zeros(len(search.passages))
        if itself is not None:
            scores[itself] = -np.inf
        found.append(scores)
    return found


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
