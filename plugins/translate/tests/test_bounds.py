"""Checks of translations at their bounds: what is just inside stays, what is just outside goes."""

from __future__ import annotations

from typing import Any

import pytest
from datasets import Dataset

from langadapt.contracts import Context, Selector
from langadapt.registry.registry import Registry


def kept(registry: Registry, slot: Any, rows: list[dict[str, Any]]) -> list[int]:
    data = Dataset.from_list([{"number": i, **row} for i, row in enumerate(rows)])
    return list(registry.make(Selector, slot).select(data, None, Context())["number"])


def pair(left: str, right: str, source_left: str = "one text", source_right: str = "another one", **mark: Any) -> dict[str, Any]:
    return {"sentence1": left, "sentence2": right, "source_sentence1": source_left, "source_sentence2": source_right, **mark}


def test_scores_of_one_pair_that_lie_apart(registry: Registry) -> None:
    rows = [pair("a x", "b y", score=0.2), pair("a x", "b y", score=0.5), pair("c x", "d y", score=0.2), pair("c x", "d y", score=0.51)]
    assert kept(registry, {"use": "label-checks", "score_gap": 0.3}, rows) == [0, 1]


def test_what_became_the_same_text(registry: Registry) -> None:
    rows = [
        pair("Same.", "same", score=0.8),
        pair("one", "One.", score=0.79),
        pair("other", "other", "same source", "same source", score=0.1),
    ]
    assert kept(registry, {"use": "label-checks", "same_score": 0.8}, rows) == [0, 2]


@pytest.mark.parametrize(("length", "stays"), [(100, True), (210, True), (211, False), (40, True), (39, False)])
def test_lengths_at_their_bounds(registry: Registry, length: int, stays: bool) -> None:
    usual = [pair("x" * 100, "y" * 100, "s" * 100, "t" * 100, score=0.5)] * 5
    rows = [*usual, pair("z" * length, "y" * 100, "s" * 100, "t" * 100, score=0.5)]
    assert (5 in kept(registry, {"use": "length-ratio", "low": 0.5, "high": 2.0, "slack": 10}, rows)) == stays


def test_short_sources_may_come_back(registry: Registry) -> None:
    rows = [
        pair("John Smith Paris", "xx", "John Smith Paris", "another one", score=0.5),
        pair("John Smith Paris France", "xx", "John Smith Paris France", "another one", score=0.5),
        pair("alpha beta gamma nova", "xx", "alpha beta gamma delta", "another one", score=0.5),
        pair("alpha beta nova novb", "xx", "alpha beta gamma delta", "another one", score=0.5),
    ]
    assert kept(registry, {"use": "copied-source", "share": 0.75, "words": 4}, rows) == [0, 3]
