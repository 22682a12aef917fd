"""Paired tests against scipy's, Holm's correction against its definition, letters against what they promise."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import norm, permutation_test

from langadapt.artifacts.significance import bootstrap_p, groups, holm, paired, permutation_p


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.2])
def test_the_permutation_test_is_scipys(shift: float) -> None:
    rng = np.random.default_rng(3)
    ours = rng.normal(size=80)
    theirs = ours - shift + 0.4 * rng.normal(size=80)
    there = permutation_test((ours, theirs), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=40_000, rng=1).pvalue
    assert permutation_p(ours, theirs, flips=40_000) == pytest.approx(there, abs=0.01)


def test_all_patterns_of_a_few_items() -> None:
    """Five right answers more and none less: of 32 patterns of signs two are as extreme."""
    ours, theirs = np.array([100.0] * 5 + [0.0] * 20), np.zeros(25)
    assert permutation_p(ours, theirs, flips=200_000) == pytest.approx(2 / 32, abs=0.003)
    assert permutation_p(ours, ours) == 1.0


def test_sums_in_another_order_are_still_ties() -> None:
    ours, theirs = np.array([0.1, 0.2, 0.3, 0.7]) * 100 / 3, np.zeros(4)
    assert permutation_p(ours, theirs, flips=100_000) == pytest.approx(2 / 16, abs=0.005)


def test_bootstrap_samples_give_twice_the_smaller_side() -> None:
    differences = np.concatenate([-np.ones(3), np.ones(96)])
    sure = np.random.default_rng(0).normal(10, 1, 1000)
    assert bootstrap_p(sure, np.zeros(1000)) == pytest.approx(2 * norm.sf(sure.mean() / sure.std()), rel=1e-6)
    assert bootstrap_p(np.ones(1000), np.zeros(1000)) == pytest.approx(2 / 1001), "samples that are all alike know no spread"
    assert bootstrap_p(differences, np.zeros(99)) == pytest.approx(2 * 4 / 100)
    assert bootstrap_p(np.full(5, np.nan), np.zeros(5)) is None


def test_means_are_permuted_and_all_else_is_resampled() -> None:
    zeros = np.zeros(9)
    items, drawn = {"items": zeros, "resampled": zeros}, {"items": None, "resampled": zeros}
    assert [found and found[1] for found in (paired(items, items), paired(drawn, items), paired({}, items))] == [
        "permutation",
        "bootstrap",
        None,
    ]


def test_holm() -> None:
    """Holm 1979: the smallest of three is tripled, the next doubled, and none falls below one before it."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_letters_are_shared_by_those_and_only_those_that_do_not_differ() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        names = "ABCDEF"
        differ = {pair: bool(rng.random() < 0.4) for pair in combinations(names, 2)}
        letters = groups(names, differ)
        assert all(letters.values())
        for (one, other), apart in differ.items():
            assert bool(set(letters[one]) & set(letters[other])) is not apart
    assert groups("AB", {("A", "B"): True}) == {"A": "a", "B": "b"}
