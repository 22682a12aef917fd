"""Scores: paired differences, what is no number, names that tell folders apart, and the word on a release that harms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from langadapt.artifacts import scores
from langadapt.contracts.results import Score
from langadapt.errors import StoreError


def of(values: dict[str, tuple[float, np.ndarray]], **more: object) -> scores.Scores:
    """One task's scores of several encoders, with their bootstrap samples."""
    found = {}
    for name, (value, drawn) in values.items():
        rows, _ = scores.records([Score("sts", "spearman", value, value - 2, value + 2, 100, resampled=drawn, **more)])  # type: ignore[arg-type]
        found[name] = rows
    scores.add_differences(found)
    return found


def test_a_paired_interval_is_that_of_the_differences() -> None:
    """Samples that rise and fall together leave a narrow difference, however wide each interval is."""
    rng = np.random.default_rng(0)
    common, own = rng.normal(0, 5, 1000), rng.normal(0, 0.1, 1000)
    found = of({"base": (80.0, 80 + common), "tuned": (79.0, 79 + common + own)})
    difference = found["tuned"][0]["difference"]
    assert difference["value"] == pytest.approx(-1.0)
    low, high = np.percentile(-1 + own, [2.5, 97.5])
    assert (difference["low"], difference["high"]) == (pytest.approx(low), pytest.approx(high))
    assert [score["task"] for score in scores.losses(found, "tuned")] == ["sts"]
    assert "difference" not in found["base"][0]
    assert all("resampled" not in score for rows in scores.plain(found).values() for score in rows)


def test_a_loss_within_the_interval_is_none() -> None:
    rng = np.random.default_rng(0)
    found = of({"base": (80.0, 80 + rng.normal(0, 5, 1000)), "tuned": (79.0, 79 + rng.normal(0, 5, 1000))})
    assert scores.losses(found, "tuned") == []


def test_of_a_perplexity_less_is_better() -> None:
    rng = np.random.default_rng(0)
    found = of({"base": (10.0, rng.normal(10, 0.1, 500)), "tuned": (12.0, rng.normal(12, 0.1, 500))}, higher_is_better=False)
    assert len(scores.losses(found, "tuned")) == 1


def test_what_is_no_number_is_no_score() -> None:
    rows, problems = scores.records([Score("a", "spearman", float("nan"), None, None, 5), Score("b", "f1", 50.0, float("nan"), 60.0, 5)])
    assert [row["task"] for row in rows] == ["b"]
    assert rows[0]["low"] is None
    assert problems == ["a: spearman is nan, which is no score (are all values alike?)"]


def test_a_table_names_generated_tests_and_the_difference() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.normal(0, 1, 500)
    rows = {
        name: scores.records([Score("sts", "spearman", v, v - 1, v + 1, 9, resampled=v + drawn)], "generated")[0]
        for name, v in (("a", 1.0), ("b", 2.0))
    }
    scores.add_differences(rows)
    header, (row,) = scores.grid(rows)
    assert header[-1] == "last − first"
    assert row[0] == "sts (generated)"
    assert row[-1] == "+1.0 [+1.0, +1.0]*"


def test_folders_are_told_apart_by_as_little_as_it_takes() -> None:
    names = ["/a/runs/one/release", "/a/runs/two/release", "intfloat/e5"]
    assert [scores.short(name, names) for name in names] == ["one/release", "two/release", "e5"]


def test_what_is_saved_comes_back_and_lets_two_tables_be_paired(tmp_path: Path) -> None:
    """The table is small and for people; samples, items and drawings lie beside it."""
    rng = np.random.default_rng(0)
    drawn, items = rng.normal(0, 1, 500), rng.integers(0, 2, 50) * 100.0
    drawing = {"scatter": {"x": [1.0], "y": [2.0], "x_label": "people", "y_label": "cosine"}}
    rows, _ = scores.records([Score("sts", "f1", 1.0, 0.0, 2.0, 50, resampled=drawn, items=items, drawing=drawing)], data="abc", seed=7)
    scores.save({"base": rows, "empty": []}, tmp_path)
    assert set(scores.load(tmp_path)["base"][0]) & set(scores.BULKY) == set()
    found = scores.load_all(tmp_path)
    assert list(found) == ["base", "empty"]
    back = found["base"][0]
    assert np.array_equal(back["resampled"], drawn)
    assert np.array_equal(back["items"], items)
    assert (back["drawing"], back["data"], back["seed"]) == (drawing, "abc", 7)
    assert scores.difference(back, rows[0])["p"] == 1.0


def test_samples_that_are_cut_short_are_named(tmp_path: Path) -> None:
    rows, _ = scores.records([Score("sts", "f1", 1.0, 0.0, 2.0, 50, resampled=np.zeros(100))])
    scores.save({"base": rows}, tmp_path)
    (tmp_path / scores.SAMPLES).write_bytes((tmp_path / scores.SAMPLES).read_bytes()[:200])
    with pytest.raises(StoreError, match="no samples of these scores"):
        scores.load_all(tmp_path)


def test_a_star_needs_what_holms_correction_leaves(tmp_path: Path) -> None:
    """Of twenty tasks one with p = 0.02 is no finding, though it would be one alone."""
    rng = np.random.default_rng(0)
    spread = rng.normal(0, 1, 1000)

    def row(task: str, shift: float) -> Score:
        return Score(task, "f1", 50 + shift, 40, 60, 100, resampled=50 + shift + (spread if shift else 0 * spread))

    tasks = [f"t{i}" for i in range(20)]
    base = scores.records([row(task, 0.0) for task in tasks])[0]
    ours = scores.records([row("t0", 2.3), *(row(task, 0.01) for task in tasks[1:])])[0]
    alone = {"base": [dict(base[0])], "ours": [dict(ours[0])]}
    scores.add_differences(alone)
    scores.add_differences(many := {"base": base, "ours": ours})
    one, of_many = alone["ours"][0]["difference"], many["ours"][0]["difference"]
    assert one["p"] == of_many["p"] < 0.05
    assert (one["holm"], of_many["holm"]) == (one["p"], pytest.approx(20 * one["p"]))
    assert scores.signed(alone["ours"][0]).endswith("*")
    assert not scores.signed(many["ours"][0]).endswith("*")


def test_other_data_and_other_seeds_are_not_paired() -> None:
    """They stand in rows of their own where the data differ, and have no difference, test or letters."""
    rng = np.random.default_rng(0)

    def rows(value: float, data: str, seed: int) -> list[dict[str, object]]:
        return scores.records([Score("sts", "f1", value, 0, 100, 50, resampled=value + rng.normal(0, 1, 500))], data=data, seed=seed)[0]

    found = {"a": rows(10, "x", 1), "b": rows(50, "x", 2), "c": rows(90, "y", 1)}
    scores.add_differences(found)
    scores.add_groups(found)
    assert all("difference" not in score and "group" not in score for table in found.values() for score in table)
    assert [row[3:6] for row in scores.grid(found)[1]] == [["10.0 [0.0, 100.0]", "50.0 [0.0, 100.0]", "–"], ["–", "–", "90.0 [0.0, 100.0]"]]
