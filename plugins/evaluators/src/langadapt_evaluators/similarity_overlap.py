"""How far the similarities of right, near and random passages lie apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from langadapt.contracts import Context, Resource, Score
from langadapt.contracts.reading import retrieval
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import interval
from langadapt_evaluators.isotropy import read_texts
from langadapt_evaluators.questions import Questions

if TYPE_CHECKING:
    from langadapt.contracts import Embeds

WIDTH = 0.02
"""Of a bin of cosines."""

BINS = round(2 / WIDTH)


class SimilarityOverlap(Questions):
    """Shared area of the distributions of cosines, ×100: 0 where two sorts of passages are told apart, 100 where nothing tells them.

    Roychowdhury et al. 2024 (arXiv:2406.12336) explain retrieval in telecom by the overlaps of three sorts of cosines of a question: with
    its own passages (``correct``), with the `k` nearest others (``top-k``) and with passages drawn at random (``random``).
    Their estimator is not known to us; here it is the overlap coefficient Σ min(p, q) of histograms with bins of 0.02 (Inman & Bradley
    1989), with 95 % bootstrap intervals over questions.

    With `general`, ``domain | general`` compares cosines of pairs of the domain's passages with those of a passage and a text of the
    general corpus: a tuned encoder should set its domain apart.
    """

    name: ClassVar[str] = "similarity-overlap"

    general: Resource | None = None
    """Texts of general language, to set the domain against."""
    k: Annotated[int, Field(ge=1)] = 5
    """Nearest passages and random ones of each question."""
    samples: Annotated[int, Field(ge=100)] = 1000

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        found, _, asked = self.asked(ctx)
        own = max((len(found.relevant[q]) for q in asked), default=0)
        if len(asked) < 20 or len(found.passages) < own + 2 * self.k:
            raise DataError(f"{len(asked)} questions and {len(found.passages)} passages are too few to compare", where=self.data.name)
        queries = encoder.encode([found.queries[q] for q in asked], adapter=encoder.role("query"), normalize=True, progress=ctx.log)
        passages = encoder.encode(list(found.passages.values()), adapter=encoder.role("document"), normalize=True, progress=ctx.log)
        sorts = by_sort(queries, passages, found, asked, self.k, ctx.rng("random passages"))
        pairs = [("correct", "random"), ("correct", "top-k"), ("top-k", "random")]
        scores = [self._score(f"{one} | {other}", sorts[one], sorts[other], ctx) for one, other in pairs]
        if self.general is not None:
            scores.append(self._score("domain | general", *self._apart(encoder, passages, ctx), ctx))
        return scores

    def _apart(self, encoder: Embeds, passages: np.ndarray, ctx: Context) -> tuple[np.ndarray, np.ndarray]:
        """Histograms (passages, bins) of each one's cosines with `k` other passages, and with `k` texts of the general corpus."""
        assert self.general is not None
        texts = list(dict.fromkeys(read_texts(self.general, ctx)))
        if len(texts) < 50:
            raise DataError(f"{len(texts)} distinct texts are too few to stand for general language", where=self.general.name)
        rng = ctx.rng("general texts")
        chosen = [texts[i] for i in sorted(rng.permutation(len(texts))[:1000])]
        general = encoder.encode(chosen, adapter=encoder.role("document"), normalize=True, progress=ctx.log)
        within, between = (np.zeros((len(passages), BINS), np.float32) for _ in range(2))
        for i, vector in enumerate(passages):
            near = (i + 1 + rng.choice(len(passages) - 1, self.k, replace=False)) % len(passages)
            within[i] = histogram(passages[near] @ vector)
            between[i] = histogram(general[rng.choice(len(general), self.k, replace=False)] @ vector)
        return within, between

    def _score(self, metric: str, one: np.ndarray, other: np.ndarray, ctx: Context) -> Score:
        task = f"{self.task or self.data.name} overlap"

        def statistic(rows: np.ndarray) -> float:
            counts = np.bincount(rows, minlength=len(one)).astype(np.float32)
            return overlap(counts @ one, counts @ other)

        value = overlap(one.sum(0), other.sum(0))
        # Rows that are drawn twice leave holes in both histograms and let them overlap less: a bias, which is taken off.
        low, high, drawn = interval(statistic, len(one), ctx.rng(f"bootstrap {task} {metric}"), self.samples, around=value)
        low, high = max(low, 0.0), min(high, 1.0)
        return Score(task, metric, 100 * value, 100 * low, 100 * high, len(one), higher_is_better=False, resampled=100 * drawn)


def by_sort(
    queries: np.ndarray, passages: np.ndarray, found: retrieval.Retrieval, asked: list[str], k: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Sort → histograms (questions, bins) of each question's cosines; vectors (n, d) are of length one."""
    place = {name: i for i, name in enumerate(found.passages)}
    sorts = {sort: np.zeros((len(asked), BINS), np.float32) for sort in ("correct", "top-k", "random")}
    for i, q in enumerate(asked):
        cosines = passages @ queries[i]
        right = [place[name] for name in found.relevant[q]]
        others = np.setdiff1d(np.arange(len(passages)), right)
        near = others[np.argpartition(-cosines[others], k - 1)[:k]]
        chosen = {"correct": cosines[right], "top-k": cosines[near], "random": cosines[rng.choice(others, k, replace=False)]}
        for sort, values in chosen.items():
            sorts[sort][i] = histogram(values)
    return sorts


def histogram(cosines: np.ndarray) -> np.ndarray:
    """(bins,) how many cosines fall into each bin of [−1, 1]."""
    places = np.clip(((cosines + 1) / WIDTH).astype(int), 0, BINS - 1)
    return np.bincount(places, minlength=BINS)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Overlap coefficient of two histograms (bins,): Σ min(p, q) of their shares, 1 for equal ones."""
    return float(np.minimum(one / one.sum(), other / other.sum()).sum())
