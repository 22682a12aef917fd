"""Poolers against sentence-transformers' own on random states, and on a real encoder from text to vector."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from langadapt import Encoder
from langadapt.contracts import States
from langadapt.registry.registry import Registry

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ["last", "weighted-mean", "max", "mean", "cls"]
LENGTHS = [1, 4, 9, 7, 2]
WIDTH = 12


def states(padding: str, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """Random states (5, 9, 12), most of them negative and large where there is padding, and their mask."""
    generator = torch.Generator().manual_seed(11)
    hidden = torch.randn(len(LENGTHS), max(LENGTHS), WIDTH, generator=generator) - 1.5
    places = torch.arange(max(LENGTHS))
    right = torch.stack([places < length for length in LENGTHS]).long()
    mask = right if padding == "right" else right.flip(1)
    return (hidden + 1000 * (1 - mask.unsqueeze(-1))).to(dtype), mask


def peer(pooler: Any) -> Any:
    """The module of sentence-transformers that a pooler says it equals."""
    from sentence_transformers import models

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return models.Pooling(WIDTH, pooler.sentence_transformers)


def pooled(pooler: Any, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = pooler.pool(States(hidden, mask, torch.zeros_like(mask)))
    return found


@pytest.mark.parametrize(("name", "padding"), [*((name, "right") for name in NAMES), ("max", "left"), ("mean", "left")])
def test_equals_sentence_transformers(registry: Registry, name: str, padding: str) -> None:
    """Encoders pad on the right; what depends on no end of the text must not care."""
    pooler: Any = registry.build("pooler", name)
    hidden, mask = states(padding)
    theirs = peer(pooler)({"token_embeddings": hidden.clone(), "attention_mask": mask})["sentence_embedding"]
    ours = pooled(pooler, hidden, mask)
    assert ours.shape == (len(LENGTHS), WIDTH)
    assert (ours - theirs).abs().max() < 1e-5
    assert ours.abs().max() < 100, "padding is left out"


def test_places_count_real_tokens(registry: Registry) -> None:
    """The peer's versions differ where padding is on the left; ours gives there what it gives with padding on the right."""
    pooler: Any = registry.build("pooler", "weighted-mean")
    hidden, mask = states("right")
    left = torch.stack([row.roll(int(len(row) - real.sum()), 0) for row, real in zip(hidden, mask, strict=True)])
    assert (pooled(pooler, left, mask.flip(1)) - pooled(pooler, hidden, mask)).abs().max() < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_padding_and_neighbours_change_nothing(registry: Registry, name: str) -> None:
    pooler: Any = registry.build("pooler", name)
    hidden, mask = states("right")
    together = pooled(pooler, hidden, mask)
    for row, length in enumerate(LENGTHS):
        alone = pooled(pooler, hidden[row : row + 1, :length], mask[row : row + 1, :length])
        assert (alone[0] - together[row]).abs().max() < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_pooling_is_in_float32(registry: Registry, name: str) -> None:
    """Sums of bfloat16 states would round away the end of a long text."""
    pooler: Any = registry.build("pooler", name)
    half, mask = states("right", torch.bfloat16)
    found = pooled(pooler, half, mask)
    assert found.dtype == torch.float32
    assert (found - pooled(pooler, half.float(), mask)).abs().max() < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_real_tokens_alone(registry: Registry, name: str) -> None:
    pooler: Any = registry.build("pooler", name)
    hidden, mask = states("right")
    hidden.requires_grad_(True)
    pooled(pooler, hidden, mask).sum().backward()
    assert hidden.grad is not None
    assert torch.isfinite(hidden.grad).all()
    assert not hidden.grad[mask == 0].any()
    assert all(hidden.grad[row].any() for row in range(len(LENGTHS)))


@pytest.mark.parametrize("name", NAMES)
def test_from_text_to_vector(tiny: Path, registry: Registry, name: str) -> None:
    """The encoder's own padding and grouping keep to what the pooler needs."""
    from sentence_transformers import SentenceTransformer, models

    texts = ["गव्हाची किंमत वाढली.", "OK", "", "एक माणूस गिटार वाजवत आहे आणि गात आहे.", "two men are playing a guitar"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pooling = models.Pooling(384, registry.build("pooler", name).sentence_transformers)  # type: ignore[attr-defined]
        theirs = SentenceTransformer(modules=[models.Transformer(str(tiny), max_seq_length=64), pooling], device="cpu").encode(texts)
    ours = Encoder.load(tiny, device="cpu", pooler=name, registry=registry).encode(texts)
    assert np.abs(ours - theirs).max() < 1e-5
