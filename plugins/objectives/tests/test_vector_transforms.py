"""Transforms beyond whitening: what they keep, what they store, and that a release stores the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from langadapt_objectives.int8 import Int8
from langadapt_objectives.pca import Pca
from langadapt_objectives.truncate import Truncate
from langadapt_objectives.whitening import Whitening

from langadapt import Encoder
from langadapt.artifacts import encoder as encoders
from langadapt.contracts import Pooler
from langadapt.errors import DataError
from langadapt.registry.registry import Registry
from langadapt.verbs.fit_transform.run import add_linear

VECTORS = np.random.default_rng(0).normal(size=(500, 24)).astype(np.float32) * np.linspace(0.1, 3, 24, dtype=np.float32) + 1
TEXTS = ["एक माणूस गिटार वाजवत आहे", "घर", "आज पाऊस पडला", "शाळा बंद आहे", "ती गाते", "नदी वाहते"]


def test_the_first_dimensions_are_kept_as_they_are() -> None:
    assert np.array_equal(Truncate(dimensions=7).fit(VECTORS).apply(VECTORS), VECTORS[:, :7])
    with pytest.raises(DataError, match="25 dimensions cannot be kept of vectors that have 24"):
        Truncate(dimensions=25).fit(VECTORS)


@pytest.mark.parametrize("center", [True, False])
def test_principal_directions_equal_scikit_learns(center: bool) -> None:
    from sklearn.decomposition import PCA

    theirs = PCA(5).fit(VECTORS.astype(np.float64))
    ours = Pca(dimensions=5, center=center).fit(VECTORS).apply(VECTORS)
    expected = (VECTORS - theirs.mean_ * center) @ theirs.components_.T
    signs = np.sign((ours * expected).sum(0))
    assert np.abs(ours - expected * signs).max() < 1e-3
    assert not center or np.abs(ours.mean(0)).max() < 1e-4
    for few in (VECTORS[:4], VECTORS[:, :4]):
        with pytest.raises(DataError, match="5 directions cannot be found"):
            Pca(dimensions=5).fit(few)


def test_eight_bits_equal_sentence_transformers_and_lose_half_a_step() -> None:
    from sentence_transformers.util import quantize_embeddings

    fitted = Int8().fit(VECTORS)
    stored = fitted.apply(VECTORS)
    assert stored.dtype == np.int8
    assert np.abs(fitted.floats(stored) - VECTORS).max() <= (fitted.step / 2).max() * 1.001
    theirs = quantize_embeddings(VECTORS, "int8", calibration_embeddings=VECTORS)
    assert np.abs(stored.astype(int) - theirs.astype(int)).max() <= 1  # the peer cuts where we round
    again = Int8().restore(fitted.arrays())
    assert np.array_equal(again.apply(VECTORS), stored)
    outliers = np.concatenate([VECTORS, VECTORS[:1] * 100])
    assert Int8(outside=0.005).fit(outliers).step.mean() < Int8().fit(outliers).step.mean() / 5


def test_linear_maps_become_one(tiny: Path, registry: Registry) -> None:
    loaded = encoders.load(tiny, mlm_head=False)
    before = Encoder(loaded, loaded.module(registry.make(Pooler, "mean")).eval()).encode(TEXTS)
    white = Whitening(dimensions=5).fit(before)
    add_linear(loaded, *white.linear())
    add_linear(loaded, *Truncate(dimensions=3).fit(white.apply(before)).linear())
    assert len(loaded.transforms) == 1
    found = Encoder(loaded, loaded.module(registry.make(Pooler, "mean")).eval()).encode(TEXTS)
    assert found == pytest.approx(white.apply(before)[:, :3], abs=1e-4)


def test_an_encoder_stores_what_was_fitted(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    loaded = encoders.load(tiny, mlm_head=False)
    plain = Encoder(loaded, loaded.module(registry.make(Pooler, "mean")).eval()).encode(TEXTS)
    fitted = Int8().fit(plain)
    loaded.settings, loaded.output = loaded.settings.with_(output=Int8().slot()), fitted.arrays()
    encoders.save(loaded, tmp_path)
    encoder = Encoder.load(tmp_path, device="cpu", registry=registry)
    assert np.array_equal(encoder.encode(TEXTS), fitted.apply(plain))
    units = encoder.encode(TEXTS, normalize=True)
    assert units.dtype == np.float32
    assert (units * (plain / np.linalg.norm(plain, axis=1, keepdims=True))).sum(1).min() > 0.999
