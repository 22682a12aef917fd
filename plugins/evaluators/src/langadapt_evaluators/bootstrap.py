"""Bootstrap intervals (Efron 1979): what a score would have been on other samples of the test set."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SAMPLES = 1000


def interval(
    statistic: Callable[[np.ndarray], float], n: int, rng: np.random.Generator, samples: int = SAMPLES, around: float | None = None
) -> tuple[float, float]:
    """95 % percentile interval of a statistic over n items.

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
    return float(low), float(high)
