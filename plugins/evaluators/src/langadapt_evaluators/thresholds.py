"""Whether a similarity tells an answerable question from one that the passages do not answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from langadapt.contracts import Context, Score
from langadapt.contracts.reading import retrieval
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import interval
from langadapt_evaluators.questions import Questions

if TYPE_CHECKING:
    from langadapt.contracts import Embeds


class Thresholds(Questions):
    """Choose a cosine above which the best passage answers a question, and score the choice on other questions.

    Roychowdhury et al. 2024 (arXiv:2406.12336) set thresholds for telecom embeddings, by a procedure that is not known to us; this one is
    ours.  Half of the questions, chosen by their text,
    lose their own passages from the collection: the collection cannot answer them.  The threshold is the one with the best mean of true
    positive and true negative rate (Youden 1950) on half of all questions; accuracy, F1 of "answerable" and AUC are of the other half,
    ×100, with 95 % bootstrap intervals over questions; the threshold itself is given beside them.
    """

    name: ClassVar[str] = "thresholds"
    version: ClassVar[str] = "1"

    samples: Annotated[int, Field(ge=100)] = 1000

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        found, _, asked = self.asked(ctx)
        if len(asked) < 40:
            raise DataError(f"{len(asked)} questions are too few to choose a threshold on", where=self.data.name)
        answerable = np.array([_coin(found.queries[q], "answerable") for q in asked])
        chooses = np.array([_coin(found.queries[q], "chooses") for q in asked])
        best = self._best(encoder, found, asked, answerable, ctx)
        threshold = youden(best[chooses], answerable[chooses])
        return self._scores(best[~chooses], answerable[~chooses], threshold, ctx)

    def _best(self, encoder: Embeds, found: retrieval.Retrieval, asked: list[str], answerable: np.ndarray, ctx: Context) -> np.ndarray:
        """Cosine (n,) of each question's nearest passage; those of an unanswerable question's own passages do not count."""
        names = list(found.passages)
        place = {name: i for i, name in enumerate(names)}
        queries = encoder.encode([found.queries[q] for q in asked], adapter=encoder.role("query"), normalize=True, progress=ctx.log)
        passages = encoder.encode(list(found.passages.values()), adapter=encoder.role("document"), normalize=True, progress=ctx.log)
        best = np.empty(len(asked), dtype=np.float32)
        for i, q in enumerate(asked):
            cosines = passages @ queries[i]
            if not answerable[i]:
                cosines[[place[name] for name in found.relevant[q]]] = -1
            best[i] = cosines.max()
        return best

    def _scores(self, best: np.ndarray, answerable: np.ndarray, threshold: float, ctx: Context) -> list[Score]:
        task = f"{self.task or self.data.name} answerable"
        said = best >= threshold
        measures: dict[str, Callable[[np.ndarray], float]] = {
            "accuracy": lambda rows: float((said[rows] == answerable[rows]).mean()),
            "f1": lambda rows: float(2 * (said & answerable)[rows].sum() / max(said[rows].sum() + answerable[rows].sum(), 1)),
            "auc": lambda rows: auc(best[rows], answerable[rows]),
        }
        scores = [Score(task, "threshold", threshold, None, None, len(best), "cosine")]
        for metric, measure in measures.items():
            low, high, drawn = interval(measure, len(best), ctx.rng(f"bootstrap {task} {metric}"), self.samples)
            scores.append(Score(task, metric, 100 * measure(np.arange(len(best))), 100 * low, 100 * high, len(best), resampled=100 * drawn))
        return scores


def youden(best: np.ndarray, answerable: np.ndarray) -> float:
    """The cosine whose true positive rate exceeds its false positive rate most; the highest of several."""
    order = np.argsort(-best, kind="stable")
    hits = np.cumsum(answerable[order]) / max(answerable.sum(), 1)
    misses = np.cumsum(~answerable[order]) / max((~answerable).sum(), 1)
    return float(best[order][int(np.argmax(hits - misses))])


def auc(best: np.ndarray, answerable: np.ndarray) -> float:
    """Chance that an answerable question's cosine exceeds an unanswerable one's; nan where one sort is missing."""
    from scipy.stats import rankdata

    positive, negative = int(answerable.sum()), int((~answerable).sum())
    if not positive or not negative:
        return float("nan")
    return float((rankdata(best)[answerable].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _coin(text: str, purpose: str) -> bool:
    """A fair choice by a text alone, the same on every machine and for every encoder."""
    return hashlib.sha256(f"{purpose}:{text}".encode()).digest()[0] < 128
