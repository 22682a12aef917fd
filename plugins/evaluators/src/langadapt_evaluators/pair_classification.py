"""Whether a cosine tells pairs that belong together from others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from langadapt.contracts import Context, Evaluator, Resource, Score
from langadapt.contracts.reading import nli_rows
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import interval
from langadapt_evaluators.groups import held_out_rows
from langadapt_evaluators.sts import cosines

if TYPE_CHECKING:
    from langadapt.contracts import Embeds

Label = Literal["entailment", "neutral", "contradiction"]


class PairClassification(Evaluator):
    """Average precision of the cosine, and accuracy and F1 at a threshold, ×100, with 95 % intervals over pairs.

    As MTEB's pair classification (Muennighoff et al. 2023, arXiv:2210.07316), but the thresholds are the best ones on `dev`, not on the
    pairs that are scored.  Without `dev` a fifth of the pairs is one, whole groups of pairs that share texts.  NLI is read as two classes:
    `positive` labels against all others; of paraphrase data a paraphrase is an entailment.
    """

    name: ClassVar[str] = "pair-classification"

    data: Resource
    dev: Resource | None = None
    """Pairs to choose the thresholds on."""
    task: str = ""
    positive: Annotated[list[Label], Field(min_length=1, max_length=2)] = ["entailment"]
    samples: Annotated[int, Field(ge=100)] = 1000

    @property
    def test_data(self) -> Resource:
        return self.data

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        texts, gold = self._read(self.data, ctx)
        similar = cosines(encoder, [a for a, _ in texts], [b for _, b in texts], ctx)
        if self.dev is not None:
            chosen_on, known = self._read(self.dev, ctx)
            dev = cosines(encoder, [a for a, _ in chosen_on], [b for _, b in chosen_on], ctx), known
        else:
            apart = np.array(held_out_rows([(a, b) for a, b in texts], 0.2))
            dev = similar[apart], gold[apart]
            similar, gold = similar[~apart], gold[~apart]
        for side, labels in (("choose a threshold on", dev[1]), ("score", gold)):
            if len(labels) < 10 or labels.all() or not labels.any():
                raise DataError(
                    f"{len(labels)} pairs, {int(labels.sum())} of them {' or '.join(self.positive)}, are not enough to {side}",
                    where=self.data.name,
                    hint="Pairs of both sorts are needed, ten at least.",
                )
        return self._scores(similar, gold, dev, ctx)

    def _scores(self, similar: np.ndarray, gold: np.ndarray, dev: tuple[np.ndarray, np.ndarray], ctx: Context) -> list[Score]:
        task = self.task or self.data.name
        best = {"accuracy": best_accuracy(*dev), "f1": best_f1(*dev)}
        said = {metric: similar >= threshold for metric, threshold in best.items()}
        measures: dict[str, Callable[[np.ndarray], float]] = {
            "average precision": lambda rows: average_precision(similar[rows], gold[rows]),
            "accuracy": lambda rows: float((said["accuracy"][rows] == gold[rows]).mean()),
            "f1": lambda rows: f1(said["f1"][rows], gold[rows]),
        }
        found = []
        for metric, measure in measures.items():
            low, high, drawn = interval(measure, len(gold), ctx.rng(f"bootstrap {task} {metric}"), self.samples)
            found.append(Score(task, metric, 100 * measure(np.arange(len(gold))), 100 * low, 100 * high, len(gold), resampled=100 * drawn))
        return [*found, Score(task, "threshold of accuracy", best["accuracy"], None, None, len(dev[1]), "cosine")]

    def _read(self, data: Resource, ctx: Context) -> tuple[list[tuple[str, str]], np.ndarray]:
        rows = list(nli_rows(data, ctx))
        return [(row["premise"], row["hypothesis"]) for row in rows], np.array([row["label"] in self.positive for row in rows])


def average_precision(scores: np.ndarray, gold: np.ndarray) -> float:
    """Σ (Rₙ − Rₙ₋₁) Pₙ over thresholds from the highest score down, equal scores together; nan where nothing is positive."""
    if not gold.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    hits = np.cumsum(gold[order])[ends]
    return float((np.diff(hits, prepend=0) * hits / (ends + 1)).sum() / gold.sum())


def f1(said: np.ndarray, gold: np.ndarray) -> float:
    """F1 of the positive class; 0 where nothing is positive on either side."""
    both = int(said.sum()) + int(gold.sum())
    return float(2 * (said & gold).sum() / both) if both else 0.0


def best_accuracy(scores: np.ndarray, gold: np.ndarray) -> float:
    """The threshold with the most right decisions, half way between two scores; the highest of several."""
    ranked, taken, hits = _cuts(scores, gold)
    right = hits + (int((~gold).sum()) - (taken - hits))
    return _between(ranked, taken, int(right.argmax()))


def best_f1(scores: np.ndarray, gold: np.ndarray) -> float:
    """The threshold with the best F1 of the positive class, half way between two scores; the highest of several."""
    ranked, taken, hits = _cuts(scores, gold)
    return _between(ranked, taken, int((2 * hits / (taken + gold.sum())).argmax()))


def _cuts(scores: np.ndarray, gold: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores downwards, how many are taken at each cut between two different ones, and how many of these are positive."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    taken = np.append(np.flatnonzero(np.diff(ranked)) + 1, len(ranked))
    return ranked, taken, np.cumsum(gold[order])[taken - 1]


def _between(ranked: np.ndarray, taken: np.ndarray, cut: int) -> float:
    last = int(taken[cut])
    return float((ranked[last - 1] + ranked[last]) / 2) if last < len(ranked) else float(ranked[-1])
