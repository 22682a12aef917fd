"""Several labels of a text: a classifier for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from langadapt.contracts import Context, Score
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import interval


def scores(
    task: str, x: np.ndarray, goal: Sequence[str], unseen: np.ndarray, gold: Sequence[str], separator: str, samples: int, ctx: Context
) -> list[Score]:
    """Micro-F1, macro-F1 and exact matches, ×100, of a logistic regression a label on features (n, d) and (m, d).

    Raises:
        DataError: fewer than two labels, or one that training never sees.
    """
    names = sorted({label for one in goal for label in split(one, separator)})
    if len(names) < 2:
        raise DataError(f"{len(names)} labels are too few", where=task)
    if unknown := sorted({label for one in gold for label in split(one, separator)} - set(names)):
        raise DataError(f"the test set has labels that training never sees: {', '.join(unknown)}", where=task)
    there, right = (table(rows, names, separator) for rows in (goal, gold))
    said = predicted(x, there, unseen)
    exact = 100.0 * (said == right).all(1)
    measures: dict[str, Callable[[np.ndarray], float]] = {
        "micro-f1": lambda rows: 100 * micro_f1(right[rows], said[rows]),
        "macro-f1": lambda rows: 100 * macro_f1(right[rows], said[rows]),
        "exact match": lambda rows: float(exact[rows].mean()),
    }
    found = []
    for metric, measure in measures.items():
        low, high, drawn = interval(measure, len(right), ctx.rng(f"bootstrap {task} {metric}"), samples)
        items = exact if metric == "exact match" else None
        found.append(Score(task, metric, measure(np.arange(len(right))), low, high, len(right), resampled=drawn, items=items))
    return found


def split(labels: str, separator: str) -> list[str]:
    """The labels of a row."""
    return [label for label in (part.strip() for part in labels.split(separator)) if label]


def table(rows: Sequence[str], names: Sequence[str], separator: str) -> np.ndarray:
    """(n, labels) whether a row has each of the labels."""
    return np.array([[name in have for name in names] for have in (set(split(row, separator)) for row in rows)])


def predicted(x: np.ndarray, there: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """(m, labels) by one logistic regression a label, features scaled by the training set's mean and deviation."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    varies = there.min(0) != there.max(0)  # a label that every row has, or none, is not learnt
    said = np.tile(there.max(0), (len(unseen), 1))
    if not varies.any():
        return said
    model = make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression(C=0.1, max_iter=1000)))
    said[:, varies] = np.asarray(model.fit(x.astype(np.float64), there[:, varies].astype(int)).predict(unseen)).reshape(len(unseen), -1)
    return said


def micro_f1(right: np.ndarray, said: np.ndarray) -> float:
    """F1 over all pairs of a row and a label; 0 where there is none."""
    return float(2 * (right & said).sum() / max(right.sum() + said.sum(), 1))


def macro_f1(right: np.ndarray, said: np.ndarray) -> float:
    """Mean F1 of the labels that occur."""
    both, sums = (right & said).sum(0), right.sum(0) + said.sum(0)
    return float((2 * both[sums > 0] / sums[sums > 0]).mean()) if (sums > 0).any() else 0.0
