"""Samplers: no row is lost, and each keeps its promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from langadapt.contracts import Sampler
from langadapt.registry.registry import Registry
from langadapt.training.tokenized import Ragged, TokenizedRows

N, BATCH = 203, 16


@pytest.fixture(scope="module")
def rows() -> TokenizedRows:
    """Rows of two texts; every fifth repeats an anchor, and clusters are uneven."""
    rng = np.random.default_rng(0)
    anchors = [[1, i if i % 5 else i // 25 * 25 + 1000, 2] for i in range(N)]
    positives = [[1, *rng.integers(3, 900, size=rng.integers(1, 30)).tolist(), i + 5000, 2] for i in range(N)]
    clusters = [int(c) for c in rng.choice([0, 1, 2, 7], N, p=[0.5, 0.3, 0.15, 0.05])]
    return TokenizedRows({"anchor": Ragged.of(anchors), "positive": Ragged.of(positives), "cluster": clusters})


@pytest.mark.parametrize("name", ["random", "bucketed", "no-duplicates", "clusters"])
def test_every_row_once_and_the_same_again(registry: Registry, rows: TokenizedRows, name: str) -> None:
    sampler = registry.make(Sampler, name)
    first = sampler.order(rows, BATCH, 0, 7)
    assert sorted(first.tolist()) == list(range(N))
    assert np.array_equal(first, sampler.order(rows, BATCH, 0, 7))
    assert not np.array_equal(first, sampler.order(rows, BATCH, 1, 7))
    assert not np.array_equal(first, sampler.order(rows, BATCH, 0, 8))


def batches(order: np.ndarray) -> list[list[int]]:
    return [order[i : i + BATCH].tolist() for i in range(0, N, BATCH)]


def repeats(rows: TokenizedRows, batch: list[int]) -> int:
    texts: list[Any] = [text for row in batch for text in rows.texts_of(row)]
    return len(texts) - len(set(texts))


def test_no_text_twice_in_a_batch(registry: Registry, rows: TokenizedRows) -> None:
    found = batches(registry.make(Sampler, "no-duplicates").order(rows, BATCH, 0, 7))
    assert sum(repeats(rows, batch) for batch in batches(registry.make(Sampler, "random").order(rows, BATCH, 0, 7))) > 0
    assert all(repeats(rows, batch) == 0 for batch in found)


def test_texts_that_repeat_too_often_share_the_last_batches(registry: Registry) -> None:
    same = TokenizedRows({"anchor": Ragged.of([[1, i % 3, 2] for i in range(40)])})
    order = registry.make(Sampler, "no-duplicates").order(same, 8, 0, 1)
    assert sorted(order.tolist()) == list(range(40))


def test_batches_of_one_cluster(registry: Registry, rows: TokenizedRows) -> None:
    found = batches(registry.make(Sampler, "clusters").order(rows, BATCH, 0, 7))
    labels = rows.values("cluster")
    pure = sum(len({labels[row] for row in batch}) == 1 for batch in found)
    whole = sum(labels.count(c) // BATCH for c in set(labels))
    assert whole >= 9
    assert pure >= whole


def test_bucketed_batches_pad_little(registry: Registry, rows: TokenizedRows) -> None:
    lengths = rows.lengths()

    def padding(order: np.ndarray) -> float:
        return sum(lengths[b].max() * len(b) for b in batches(order)) / lengths.sum()

    order = {name: registry.make(Sampler, name).order(rows, BATCH, 0, 7) for name in ("random", "bucketed")}
    assert padding(order["bucketed"]) < 1.15 < padding(order["random"])
