"""Losses against sentence-transformers' and transformers' own, on real weights and text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from langadapt_objectives.contrastive import triplets
from langadapt_objectives.whitening import Whitening

from langadapt.artifacts import encoder as encoders
from langadapt.modeling.encoder import EncoderModule
from langadapt.registry.registry import Registry
from langadapt.training.tokenized import tokenize_texts

ANCHORS = ["एक माणूस गिटार वाजवत आहे.", "मुले मैदानात खेळत आहेत.", "ती बाजारात भाजी विकते.", "आज पुण्यात पाऊस पडला."]
POSITIVES = ["कोणीतरी गिटार वाजवत आहे.", "मुले बाहेर आहेत.", "ती काहीतरी विकते.", "पुण्यात पाऊस झाला."]
NEGATIVES = ["कोणीही वाजवत नाही.", "मुले झोपली आहेत.", "ती काही विकत नाही.", "पुण्यात ऊन होते."]


@pytest.fixture
def small(tiny: Path, registry: Registry) -> tuple[EncoderModule, Any]:
    loaded = encoders.load(tiny, mlm_head=False)
    return loaded.module(registry.build("pooler", "mean")).eval(), loaded.tokenizer


def rows(tokenizer: Any, **columns: list[Any]) -> list[dict[str, Any]]:
    ids = {k: tokenize_texts(tokenizer, v, 64)[0] if isinstance(v[0], str) else v for k, v in columns.items()}
    return [dict(zip(ids, values, strict=True)) for values in zip(*ids.values(), strict=True)]


def loss_of(objective: Any, small: tuple[EncoderModule, Any], data: list[dict[str, Any]]) -> float:
    encoder, tokenizer = small
    batch = objective.collate(data, tokenizer, np.random.default_rng(0))
    return float(objective.loss(encoder, None, batch, 0).total) / batch.count


def test_multiple_negatives_equals_sentence_transformers(small: tuple[EncoderModule, Any], registry: Registry) -> None:
    from sentence_transformers import losses

    encoder, tokenizer = small
    objective = registry.build("objective", "multiple-negatives")
    ours = loss_of(objective, small, rows(tokenizer, anchor=ANCHORS, positive=POSITIVES, negative=NEGATIVES))
    vectors = [encoder.embed(tokenize_texts(tokenizer, texts, 64)[0]) for texts in (ANCHORS, POSITIVES, NEGATIVES)]
    peer = losses.MultipleNegativesRankingLoss(torch.nn.Identity())
    assert ours == pytest.approx(float(peer.compute_loss_from_embeddings(vectors, None)), abs=1e-4)


def test_repeated_texts_are_no_negatives(small: tuple[EncoderModule, Any], registry: Registry) -> None:
    objective = registry.build("objective", "multiple-negatives")
    encoder, tokenizer = small
    two = rows(tokenizer, anchor=ANCHORS[:2], positive=[POSITIVES[0]] * 2)
    vectors = torch.nn.functional.normalize(encoder.embed(tokenize_texts(tokenizer, [*ANCHORS[:2], POSITIVES[0]], 64)[0]), dim=-1)
    assert vectors.shape == (3, 384)
    # Both pairs share their positive, so neither has a negative left: the loss is zero.
    assert loss_of(objective, small, two) == pytest.approx(0.0, abs=1e-6)


def test_triplets_take_contradictions_of_the_same_premise() -> None:
    data = Dataset.from_list(
        [
            {"premise": "a", "hypothesis": "b", "label": "entailment"},
            {"premise": "a", "hypothesis": "c", "label": "contradiction"},
            {"premise": "d", "hypothesis": "e", "label": "entailment"},
            {"premise": "d", "hypothesis": "f", "label": "neutral"},
        ]
    )
    assert triplets(data) == [
        {"anchor": "a", "positive": "b", "negative": "c"},
        {"anchor": "d", "positive": "e", "negative": None},
    ]


def test_cosine_sts_is_the_mean_squared_error(small: tuple[EncoderModule, Any], registry: Registry) -> None:
    encoder, tokenizer = small
    scores = [0.9, 0.7, 0.5, 0.1]
    ours = loss_of(registry.build("objective", "cosine-sts"), small, rows(tokenizer, sentence1=ANCHORS, sentence2=POSITIVES, score=scores))
    a, b = (encoder.embed(tokenize_texts(tokenizer, texts, 64)[0]) for texts in (ANCHORS, POSITIVES))
    expected = torch.nn.functional.mse_loss(torch.cosine_similarity(a, b), torch.tensor(scores))
    assert ours == pytest.approx(float(expected), abs=1e-6)


def test_nli_softmax_learns(small: tuple[EncoderModule, Any], registry: Registry) -> None:
    encoder, tokenizer = small
    objective: Any = registry.build("objective", "nli-softmax")
    data = rows(tokenizer, premise=ANCHORS * 2, hypothesis=POSITIVES + NEGATIVES)
    for row, label in zip(data, ["entailment"] * 4 + ["contradiction"] * 4, strict=True):
        row["label"] = label
    batch = objective.collate(data, tokenizer, np.random.default_rng(0))
    torch.manual_seed(0)
    head = objective.head(encoder.width)
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = objective.loss(encoder, head, batch, 0).total
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.3 * values[0]


def test_masking_rate_shares_and_positions(small: tuple[EncoderModule, Any], registry: Registry) -> None:
    _, tokenizer = small
    objective: Any = registry.build("objective", "mlm")
    texts = tokenize_texts(tokenizer, (ANCHORS + POSITIVES + NEGATIVES) * 100, 64)[0]
    batch = objective.collate([{"text": ids} for ids in texts], tokenizer, np.random.default_rng(3))
    labels = iter(batch.extra["labels"])
    special = set(tokenizer.all_special_ids)
    total = sum(token not in special for ids in texts for token in ids)
    fates = {"mask": 0, "kept": 0, "other": 0}
    for original, masked, positions in zip(texts, batch.sequences, batch.extra["positions"], strict=True):
        restored = list(masked)
        for place in positions:
            label = next(labels)
            assert label == original[place]
            assert label not in special
            fates["mask" if masked[place] == tokenizer.mask_token_id else "kept" if masked[place] == label else "other"] += 1
            restored[place] = label
        assert restored == original
    assert batch.count == sum(fates.values())
    assert batch.count / total == pytest.approx(0.15, abs=0.01)
    assert fates["mask"] / batch.count == pytest.approx(0.8, abs=0.03)
    assert fates["other"] / batch.count == pytest.approx(0.1, abs=0.02)


def test_sparse_mlm_loss_equals_the_dense_one(tiny: Path, registry: Registry) -> None:
    torch.manual_seed(0)
    loaded = encoders.load(tiny, mlm_head=True)
    encoder = loaded.module(registry.build("pooler", "mean")).eval()
    objective: Any = registry.build("objective", "mlm")
    texts = tokenize_texts(loaded.tokenizer, ANCHORS + POSITIVES, 64)[0]
    batch = objective.collate([{"text": ids} for ids in texts], loaded.tokenizer, np.random.default_rng(1))
    with torch.no_grad():
        ours = float(objective.loss(encoder, None, batch, 0).total) / batch.count
        ids, mask = encoder.pad(batch.sequences)
        labels = torch.full_like(ids, -100)
        stream = iter(batch.extra["labels"])
        for row, positions in enumerate(batch.extra["positions"]):
            for place in positions:
                labels[row, place] = int(next(stream))
        dense = float(loaded.model(input_ids=ids, attention_mask=mask, labels=labels).loss)
    assert ours == pytest.approx(dense, abs=1e-4)


def test_whitened_vectors_are_white() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.standard_normal((500, 12)) @ rng.standard_normal((12, 12)) + 3).astype(np.float32)
    weight, bias = Whitening(dimensions=8).fit(vectors)
    white = vectors @ weight.T + bias
    assert white.shape == (500, 8)
    assert np.abs(white.mean(0)).max() < 1e-3
    assert np.abs(np.cov(white, rowvar=False) - np.eye(8)).max() < 1e-2
