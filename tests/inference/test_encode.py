"""Encoder: order, empty and over-long texts, parity with sentence-transformers."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer, models

from langadapt import Encoder, LangadaptError

TEXTS = ["गव्हाची किंमत वाढली.", "", "मुले " * 200, "OK", "एक माणूस गिटार वाजवत आहे आणि गात आहे.", "\u200d\U0001f600 \x07 ½"]


def test_order_empty_and_over_long(tiny: Path, caplog: pytest.LogCaptureFixture) -> None:
    encoder = Encoder.load(tiny, device="cpu")
    with caplog.at_level(logging.WARNING, "langadapt"):
        vectors = encoder.encode(TEXTS)
    assert vectors.shape == (6, 384)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert encoder.stats.truncated == 1
    assert "1 of 6 texts are longer than 64 tokens" in caplog.text
    for text, vector in zip(TEXTS, vectors, strict=True):
        assert np.abs(encoder.encode([text])[0] - vector).max() < 1e-5
    small = encoder.encode(TEXTS, batch_tokens=16)
    assert np.abs(small - vectors).max() < 1e-5
    assert encoder.encode([]).shape == (0, 384)


def test_same_vectors_as_sentence_transformers(tiny: Path) -> None:
    word = models.Transformer(str(tiny), max_seq_length=64)
    peer = SentenceTransformer(modules=[word, models.Pooling(384, "mean")], device="cpu")
    theirs = peer.encode(TEXTS)
    assert np.abs(Encoder.load(tiny, device="cpu").encode(TEXTS) - theirs).max() < 1e-5


def test_bf16_stays_close(tiny: Path) -> None:
    full = Encoder.load(tiny, device="cpu").encode(TEXTS, normalize=True)
    half = Encoder.load(tiny, device="cpu", precision="bf16").encode(TEXTS, normalize=True)
    assert (full * half).sum(1).min() > 0.999


def test_what_is_no_list_of_texts_is_refused(tiny: Path) -> None:
    encoder = Encoder.load(tiny, device="cpu")
    with pytest.raises(LangadaptError, match="list of texts"):
        encoder.encode("one string")
    with pytest.raises(LangadaptError, match="text 1 is int"):
        encoder.encode(["a", 1])  # type: ignore[list-item]
    with pytest.raises(LangadaptError, match="no such folder"):
        Encoder.load("./absent")
