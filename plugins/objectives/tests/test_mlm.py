"""Masked language modelling: what is hidden, what stays, and the loss."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from langadapt_objectives.mlm import MaskedLanguageModel

from langadapt.artifacts import encoder as encoders
from langadapt.artifacts.encoder import LoadedEncoder
from langadapt.modeling.pooling import Mean
from langadapt.registry.kinds import Batch
from langadapt.training.tokenized import TokenizedRows

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def loaded(tiny: Path) -> LoadedEncoder:
    torch.manual_seed(0)
    return encoders.load(tiny, mlm_head=True)


@pytest.fixture(scope="module")
def rows(loaded: LoadedEncoder, data: Path) -> list[dict[str, Any]]:
    with gzip.open(data / "raw" / "mr.txt.gz", "rt", encoding="utf-8") as handle:
        texts = [line.strip() for line in itertools.islice(handle, 500, 1500)]
    return TokenizedRows.of(Dataset.from_dict({"text": texts}), loaded.tokenizer, 64, "split").rows


def collate(rows: list[dict[str, Any]], loaded: LoadedEncoder, rate: float = 0.15, seed: int = 0) -> Batch:
    return MaskedLanguageModel(rate=rate).collate(rows, loaded.tokenizer, np.random.default_rng(seed))


def restored(batch: Batch) -> list[list[int]]:
    """The sequences with the labels put back."""
    sequences, labels = [list(ids) for ids in batch.sequences], iter(batch.extra["labels"].tolist())
    for ids, places in zip(sequences, batch.extra["positions"], strict=True):
        for place in places:
            ids[place] = next(labels)
    assert next(labels, None) is None
    return sequences


@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_rates(rows: list[dict[str, Any]], loaded: LoadedEncoder, rate: float) -> None:
    batch = collate(rows, loaded, rate)
    special = set(loaded.tokenizer.all_special_ids)
    ordinary = sum(token not in special for row in rows for token in row["text"])
    assert ordinary > 30_000
    assert batch.count == len(batch.extra["labels"]) == sum(map(len, batch.extra["positions"]))
    assert batch.count / ordinary == pytest.approx(rate, abs=0.008)
    shown = [ids[place] for ids, places in zip(batch.sequences, batch.extra["positions"], strict=True) for place in places]
    labels = batch.extra["labels"].tolist()
    masked = sum(token == loaded.tokenizer.mask_token_id for token in shown) / len(shown)
    kept = sum(token == label for token, label in zip(shown, labels, strict=True)) / len(shown)
    assert masked == pytest.approx(0.8, abs=0.02)
    assert kept == pytest.approx(0.1, abs=0.015)
    swapped = [token for token, label in zip(shown, labels, strict=True) if token != label and token != loaded.tokenizer.mask_token_id]
    assert len(swapped) / len(shown) == pytest.approx(0.1, abs=0.015)
    # Random tokens come from the whole vocabulary, and none is special.
    assert not special & set(swapped)
    assert np.mean(swapped) == pytest.approx(len(loaded.tokenizer) / 2, rel=0.1)
    assert len(set(swapped)) > 0.8 * len(swapped) * (1 - len(swapped) / len(loaded.tokenizer))


def test_special_tokens_are_never_hidden_and_nothing_else_changes(rows: list[dict[str, Any]], loaded: LoadedEncoder) -> None:
    special = set(loaded.tokenizer.all_special_ids)
    batch = collate(rows, loaded, 0.9)
    assert not special & set(batch.extra["labels"].tolist())
    assert restored(batch) == [row["text"] for row in rows]
    for row, ids in zip(rows, batch.sequences, strict=True):
        assert [token for token in row["text"] if token in special] == [
            token for token, before in zip(ids, row["text"], strict=True) if before in special
        ]


def test_masks_follow_the_generator(rows: list[dict[str, Any]], loaded: LoadedEncoder) -> None:
    first, again, other = (collate(rows[:50], loaded, seed=seed) for seed in (1, 1, 2))
    assert first.sequences == again.sequences
    assert first.extra["positions"] == again.extra["positions"] != other.extra["positions"]


def test_a_batch_too_short_for_its_rate_still_hides_one_token(rows: list[dict[str, Any]], loaded: LoadedEncoder) -> None:
    for seed in range(10):
        batch = collate([{"text": rows[0]["text"][:2]}], loaded, 0.01, seed)
        assert batch.extra["positions"] == [[1]]


@torch.no_grad()
def test_loss_equals_the_dense_cross_entropy(rows: list[dict[str, Any]], loaded: LoadedEncoder) -> None:
    batch = collate(rows[:24], loaded)
    assert [] not in (batch.sequences, batch.extra["positions"])
    encoder = loaded.module(Mean(), budget=300).eval()
    found = MaskedLanguageModel().loss(encoder, None, batch, 0).total / batch.count
    ids, mask = encoder.pad(batch.sequences)
    labels = torch.full_like(ids, -100)
    values = iter(batch.extra["labels"].tolist())
    for row, places in enumerate(batch.extra["positions"]):
        for place in places:
            labels[row, place] = next(values)
    dense = loaded.model.eval()(input_ids=ids, attention_mask=mask, labels=labels).loss
    assert float(found) == pytest.approx(float(dense), rel=1e-5)
