"""Whitening makes the covariance the identity, and a module applies it as fitted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from langadapt_objectives.whitening import Whitening

from langadapt.artifacts import encoder as encoders
from langadapt.errors import DataError
from langadapt.inference.encoder import Encoder
from langadapt.modeling.pooling import Mean


def cloud(n: int = 4000, d: int = 16) -> np.ndarray:
    """Correlated vectors of very different variances, off the origin."""
    rng = np.random.default_rng(0)
    turned = np.linalg.qr(rng.standard_normal((d, d)))[0]
    made: np.ndarray = (rng.standard_normal((n, d)) * np.geomspace(3, 0.05, d)) @ turned + 2
    return made.astype(np.float32)


def test_covariance_is_the_identity() -> None:
    vectors = cloud()
    weight, bias = Whitening().fit(vectors).linear()
    assert weight.dtype == bias.dtype == np.float32
    white = vectors @ weight.T + bias
    assert white.mean(0) == pytest.approx(np.zeros(16), abs=1e-3)
    assert np.cov(white, rowvar=False) == pytest.approx(np.eye(16), abs=1e-3)


def test_fewer_dimensions_are_the_strongest() -> None:
    vectors = cloud()
    whole, cut = Whitening().fit(vectors).linear(), Whitening(dimensions=5).fit(vectors).linear()
    assert cut[0].shape == (5, 16)
    assert cut[1].shape == (5,)
    assert np.array_equal(cut[0], whole[0][:5])
    # Rows are scaled by one over the deviation, so the strongest direction has the shortest row.
    lengths = np.linalg.norm(whole[0], axis=1)
    assert (np.diff(lengths) > 0).all()


def test_directions_without_variance_are_dropped() -> None:
    vectors = cloud()
    flat = np.concatenate([vectors, vectors[:, :3] @ np.ones((3, 2), np.float32), np.ones((len(vectors), 1), np.float32)], 1)
    weight, bias = Whitening(floor=1e-9).fit(flat).linear()
    assert weight.shape == (16, 19)
    assert np.cov(flat @ weight.T + bias, rowvar=False) == pytest.approx(np.eye(16), abs=0.02)
    few = vectors[:6]
    assert Whitening().fit(few).width == 5
    with pytest.raises(DataError):
        Whitening().fit(vectors[:1])


def test_a_module_applies_it(tiny: Path) -> None:
    loaded = encoders.load(tiny, mlm_head=False)
    texts = ["घर मोठे आहे", "आज पाऊस पडला", "शाळा बंद आहे", "तो धावतो", "ती गाते", "नदी वाहते"]
    before = Encoder(loaded, loaded.module(Mean()).eval()).encode(texts)
    weight, bias = Whitening(dimensions=4).fit(before).linear()
    loaded.transforms = [(torch.from_numpy(weight), torch.from_numpy(bias))]
    encoder = Encoder(loaded, loaded.module(Mean()).eval())
    after = encoder.encode(texts)
    assert encoder.width == 4
    assert after == pytest.approx(before @ weight.T + bias, abs=1e-4)
    assert np.cov(after, rowvar=False) == pytest.approx(np.eye(4), abs=1e-2)
