"""The router: nearest centroid, below the threshold none, and nobody is routed to what was removed."""

from __future__ import annotations

import numpy as np
import pytest

from langadapt.errors import ModelError
from langadapt.inference.router import Router

RNG = np.random.default_rng(4)
COMMON = 5 * RNG.normal(size=32)
"""Encoders crowd in a narrow cone: every vector shares a large part."""
OWN = {name: RNG.normal(size=32) for name in ("news", "tweets", "law")}


def around(name: str, count: int) -> np.ndarray:
    found: np.ndarray = COMMON + OWN[name] + 0.3 * RNG.normal(size=(count, 32))
    return found


def ready() -> Router:
    router = Router()
    for name in OWN:
        vectors = around(name, 50)
        router.add(name, (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).mean(0))
    return router


def test_each_text_goes_to_its_own_kind() -> None:
    router = ready()
    for name in OWN:
        vectors = around(name, 40)
        assert router.choose(vectors, -1.0) == [name] * 40
        assert router.choose(vectors * 100, -1.0) == [name] * 40, "length does not matter"
    mixed = np.concatenate([around("law", 1), around("news", 1), around("tweets", 1)])
    assert router.choose(mixed, -1.0) == ["law", "news", "tweets"]
    assert router.choose(mixed.astype(np.float32), -1.0) == ["law", "news", "tweets"]
    assert router.choose(np.zeros((0, 32)), -1.0) == []


def test_below_the_threshold_none() -> None:
    router = ready()
    middle = np.stack([COMMON + sum(OWN.values()) / 3, COMMON + OWN["law"]])
    assert router.choose(middle, 0.7) == [None, "law"]
    assert None not in router.choose(middle, -1.0)
    assert router.choose(middle, 1.01) == [None, None]


def test_a_lone_adapter_is_judged_by_plain_cosine() -> None:
    router = Router()
    router.add("one", np.array([3.0, 0.0]))
    vectors = np.array([[2.0, 0.0], [1.0, 1.0], [-1.0, 0.1], [0.0, 0.0]])
    assert router.choose(vectors, 0.7) == ["one", "one", None, None]
    assert router.choose(vectors, 0.71) == ["one", None, None, None]


def test_removed_and_replaced() -> None:
    router = ready()
    vectors = around("law", 10)
    router.remove("law")
    router.remove("never there")
    assert set(router.choose(vectors, -1.0)) <= {"news", "tweets"}
    router.add("news", COMMON + OWN["law"])
    assert router.choose(vectors, -1.0) == ["news"] * 10
    router.remove("news")
    router.remove("tweets")
    with pytest.raises(ModelError, match="no adapter here has a centroid to route by Adapters trained by langadapt have one"):
        router.choose(vectors, -1.0)
