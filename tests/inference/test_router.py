"""The router: nearest centroid, below the threshold none, and nobody is routed to what was removed."""

from __future__ import annotations

import numpy as np
import pytest

from langadapt.errors import ModelError
from langadapt.inference.router import choose

RNG = np.random.default_rng(4)
COMMON = 5 * RNG.normal(size=32)
"""Encoders crowd in a narrow cone: every vector shares a large part."""
OWN = {name: RNG.normal(size=32) for name in ("news", "tweets", "law")}


def around(name: str, count: int) -> np.ndarray:
    found: np.ndarray = COMMON + OWN[name] + 0.3 * RNG.normal(size=(count, 32))
    return found


def ready() -> dict[str, np.ndarray]:
    """Centroids as training leaves them."""
    found = {}
    for name in OWN:
        vectors = around(name, 50)
        found[name] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).mean(0)
    return found


def test_each_text_goes_to_its_own_kind() -> None:
    centroids = ready()
    for name in OWN:
        vectors = around(name, 40)
        assert choose(vectors, centroids, -1.0) == [name] * 40
        assert choose(vectors * 100, centroids, -1.0) == [name] * 40, "length does not matter"
    mixed = np.concatenate([around("law", 1), around("news", 1), around("tweets", 1)])
    assert choose(mixed, centroids, -1.0) == ["law", "news", "tweets"]
    assert choose(mixed.astype(np.float32), centroids, -1.0) == ["law", "news", "tweets"]
    assert choose(np.zeros((0, 32)), centroids, -1.0) == []


def test_below_the_threshold_none() -> None:
    centroids = ready()
    middle = np.stack([COMMON + sum(OWN.values()) / 3, COMMON + OWN["law"]])
    assert choose(middle, centroids, 0.7) == [None, "law"]
    assert None not in choose(middle, centroids, -1.0)
    assert choose(middle, centroids, 1.01) == [None, None]


def test_a_lone_adapter_is_judged_by_plain_cosine() -> None:
    centroids = {"one": np.array([3.0, 0.0])}
    vectors = np.array([[2.0, 0.0], [1.0, 1.0], [-1.0, 0.1], [0.0, 0.0]])
    assert choose(vectors, centroids, 0.7) == ["one", "one", None, None]
    assert choose(vectors, centroids, 0.71) == ["one", None, None, None]


def test_with_other_centroids() -> None:
    centroids = ready()
    vectors = around("law", 10)
    del centroids["law"]
    assert set(choose(vectors, centroids, -1.0)) <= {"news", "tweets"}
    centroids["news"] = COMMON + OWN["law"]
    assert choose(vectors, centroids, -1.0) == ["news"] * 10
    with pytest.raises(ModelError, match="no adapter here has a centroid to route by Adapters trained by langadapt have one"):
        choose(vectors, {}, -1.0)
