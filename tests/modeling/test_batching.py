"""Length groups: every sequence once, within the budget, with little padding; and vectors that do not depend on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from langadapt.artifacts import encoder as encoders
from langadapt.modeling.batching import SMALLEST, WASTE, group_by_length
from langadapt.modeling.encoder import EncoderModule
from langadapt.modeling.pooling import Cls, Mean

pytestmark = pytest.mark.usefixtures("one_thread")
LENGTHS = st.lists(st.integers(0, 300), max_size=200)


@given(LENGTHS, st.integers(1, 5000))
@settings(max_examples=150, deadline=None)
def test_groups(lengths: list[int], budget: int) -> None:
    groups = group_by_length(lengths, budget)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        longest = max(lengths[i] for i in group)
        assert len(group) == 1 or longest * len(group) <= budget
        assert lengths[group[0]] == longest
        real = sum(lengths[i] for i in group)
        # A group may waste more only while it is too small to be worth a pass of its own.
        assert longest * len(group) - real <= WASTE * real or real - lengths[group[-1]] < SMALLEST
    order = [lengths[i] for group in groups for i in group]
    assert order == sorted(order, reverse=True)


@pytest.mark.parametrize("seed", range(8))
def test_padding_of_a_large_batch_is_small(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.lognormal(3.2, 0.7, 512), 3, 128).astype(int).tolist()  # as sentences are: many short, few long
    groups = group_by_length(lengths, 4096)
    padded = sum(max(lengths[i] for i in group) * len(group) for group in groups)
    assert padded < 1.12 * sum(lengths)
    assert len(groups) < 40


def test_equal_lengths_keep_their_order_and_share_groups() -> None:
    assert group_by_length([7] * 10, 35) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert group_by_length([], 100) == []
    assert group_by_length([500], 100) == [[0]]


@pytest.mark.parametrize("pooler", [Mean(), Cls()], ids=["mean", "cls"])
@torch.no_grad()
def test_vectors_do_not_depend_on_groups(tiny: Path, pooler: Mean | Cls) -> None:
    loaded = encoders.load(tiny, mlm_head=False)
    generator = torch.Generator().manual_seed(0)
    sequences = [torch.randint(5, 4000, (int(n),), generator=generator).tolist() for n in torch.randint(1, 60, (40,), generator=generator)]
    together = EncoderModule(loaded.model, pooler, 1, budget=256).eval().embed(sequences)
    alone = torch.cat([EncoderModule(loaded.model, pooler, 1).eval().embed([ids]) for ids in sequences])
    assert torch.allclose(together, alone, atol=1e-5)


@torch.no_grad()
def test_masked_states_come_in_the_given_order(tiny: Path) -> None:
    loaded = encoders.load(tiny, mlm_head=False)
    encoder = EncoderModule(loaded.model, Mean(), 1, budget=64).eval()
    sequences = [[0, *range(100, 100 + n), 2] for n in (3, 40, 7, 21, 40, 5)]
    positions = [[1], [5, 2, 39], [], [20], [40, 1], [6, 0]]
    found = encoder.masked_states(sequences, positions)
    expected = []
    for ids, places in zip(sequences, positions, strict=True):
        states = encoder.states([ids]).last
        expected += [states[0, place] for place in places]
    assert torch.allclose(found, torch.stack(expected), atol=1e-5)
