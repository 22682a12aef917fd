"""Bootstrap intervals (Efron 1979): what a score would have been on other samples of the test set."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from langadapt.contracts import Score

SAMPLES = 1000


class Interval(NamedTuple):
    """Both ends, and the statistic on each sample: (samples,)."""

    low: float
    high: float
    drawn: np.ndarray


def interval(
    statistic: Callable[[np.ndarray], float], n: int, rng: np.random.Generator, samples: int = SAMPLES, around: float | None = None
) -> Interval:
    """95 % percentile interval of a statistic over n items, and the values it was read off.

    Two encoders measured with generators of one seed are drawn the same samples: the differences of their values, sample by sample,
    give a paired interval (:func:`langadapt.artifacts.scores.add_differences`).

    Args:
        statistic: takes row indices (n,) and returns the statistic on them.
        around: the statistic on all items, where repeated rows bias it, as they do the spread of a covariance: the bootstrap's
            estimate of that bias (Efron & Tibshirani 1993, ch. 10) is taken off both ends.  What bias the statistic has at n items
            stays: the interval holds for samples of that size.
    """
    values = np.array([statistic(rng.integers(n, size=n)) for _ in range(samples)])
    if around is not None:
        values += around - np.nanmean(values)
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return Interval(float(low), float(high), values)


def mean_score(task: str, metric: str, items: np.ndarray, rng: np.random.Generator, samples: int = SAMPLES) -> Score:
    """The mean of items (n,), ×100 already, with its interval; two of them can be paired item by item."""
    low, high, drawn = interval(lambda rows: float(items[rows].mean()), len(items), rng, samples)
    return Score(task, metric, float(items.mean()), low, high, len(items), resampled=drawn, items=items)


def of_runs(values: np.ndarray) -> tuple[float | None, float | None]:
    """95 % interval of the mean of a few runs (n,), by Student's t; none of a single one."""
    if len(values) < 2:
        return None, None
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return float(values.mean()) - half, float(values.mean()) + half
