"""Intervals of a few runs, and of means of items."""

from __future__ import annotations

import numpy as np
import pytest
from langadapt_evaluators.bootstrap import mean_score, of_runs
from scipy import stats


def test_a_few_runs_by_students_t() -> None:
    values = np.array([3.0, 4.5, 4.0, 5.5])
    theirs = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    assert of_runs(values) == pytest.approx(theirs)
    assert of_runs(values[:1]) == (None, None)


def test_a_mean_and_its_items() -> None:
    items = np.arange(50.0)
    score = mean_score("t", "m", items, np.random.default_rng(0), 200)
    assert (score.value, score.n) == (24.5, 50)
    assert score.low < 24.5 < score.high  # type: ignore[operator]
    assert len(score.resampled) == 200
    assert score.items is items
