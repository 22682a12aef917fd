"""Clusters against scikit-learn's measure and translations against neighbours by brute force, on real texts."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langadapt_evaluators.bitext import Bitext, Neighbours, best_threshold
from langadapt_evaluators.clustering import Clustering, v_measure
from sklearn.metrics import v_measure_score

from langadapt.contracts.component import Context
from langadapt.errors import DataError
from langadapt.inference.encoder import Encoder
from langadapt.manifests.resource import PathSource, Resource, Sources
from langadapt.planning.pinning import pin_paths

pytestmark = pytest.mark.usefixtures("one_thread")


def resource(path: Path, form: Any, **options: Any) -> Resource:
    found = Resource(name="test", format=form, sources=Sources(path=PathSource(paths=[str(path)])), **options)
    return found.model_copy(update={"pinned": pin_paths(found, (path.absolute(),), "here")})


def some(path: Path, folder: Path, count: int) -> Path:
    """The header and so many rows from all over a table."""
    with gzip.open(path, "rt", encoding="utf-8") as handle:
        header, *lines = handle
    found = folder / "some.tsv"
    found.write_text(header + "".join(lines[:: len(lines) // count][:count]), encoding="utf-8")
    return found


@pytest.fixture(scope="module")
def encoder(tiny: Path) -> Encoder:
    return Encoder.load(tiny, device="cpu")


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=60))
@settings(max_examples=200, deadline=None)
def test_v_measure_equals_scikit_learns(points: list[tuple[int, int]]) -> None:
    gold, clusters = np.array(points).T
    assert v_measure(gold, clusters) == pytest.approx(v_measure_score(gold, clusters), abs=1e-9)


def test_labels_that_words_tell_apart_are_found(data: Path, encoder: Encoder, tmp_path: Path) -> None:
    table = resource(some(data / "mahanews-shc-mr" / "train.tsv.gz", tmp_path, 300), "classification")
    evaluator = Clustering(data=table, algorithms=["k-means", "agglomerative", "hdbscan"], samples=100)
    found = {score.task: score for score in evaluator.evaluate(encoder, Context(seed=3))}
    assert set(found) == {"test k-means", "test agglomerative", "test hdbscan"}
    assert all(score.n == 300 and score.low is not None and score.high is not None for score in found.values())
    assert found["test k-means"].value > 2.0  # of labels by chance it would be near nothing
    (reduced,) = Clustering(data=table, reduce=8, samples=100).evaluate(encoder, Context(seed=3))
    assert reduced.task == "test k-means 8d"
    (parts,) = Clustering(data=table, splits=3, size=100, samples=100).evaluate(encoder, Context(seed=3))
    assert 100 < parts.n <= 300


def test_clusters_that_are_labels_score_full(encoder: Encoder, tmp_path: Path) -> None:
    table = tmp_path / "two.tsv"
    texts = [("आज पुण्यात पाऊस पडला", "rain"), ("the market was closed", "market")]
    table.write_text("text\tlabel\n" + "".join(f"{text} {i}\t{label}\n" for i in range(20) for text, label in texts), encoding="utf-8")
    scores = Clustering(data=resource(table, "classification"), algorithms=["k-means", "agglomerative"]).evaluate(encoder, Context())
    assert [score.value for score in scores] == [pytest.approx(100.0)] * 2
    assert [score.high for score in scores] == [pytest.approx(100.0)] * 2
    table.write_text("text\tlabel\n" + "".join(f"text {i}\tone\n" for i in range(20)), encoding="utf-8")
    with pytest.raises(DataError, match="every clustering is right"):
        Clustering(data=resource(table, "classification")).evaluate(encoder, Context())


def test_neighbours_equal_the_formulas() -> None:
    rng = np.random.default_rng(2)
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (rng.normal(size=(30, 8)) + 1, rng.normal(size=(40, 8)) + 1))
    found = Neighbours(a.astype(np.float32), b.astype(np.float32), 4)
    cosines = a @ b.T
    assert found.best.tolist() == cosines.argmax(1).tolist()
    assert found.best_back.tolist() == cosines.argmax(0).tolist()
    forward, back = np.sort(cosines, 1)[:, -4:].sum(1), np.sort(cosines, 0)[-4:].sum(0)
    margin = cosines / (forward[:, None] / 8 + back[None] / 8)  # equation 2 of the paper, k = 4
    assert found.best_by_margin.tolist() == margin.argmax(1).tolist()
    assert np.allclose(found.margin, margin.max(1), atol=1e-5)


def test_the_best_threshold_by_hand() -> None:
    margins, right = np.array([1.3, 1.2, 1.1, 1.0]), np.array([True, True, False, True])
    assert best_threshold(margins, right, 3) == 1.0  # 3 of 4 right, all 3 found: 6/7, over 4/5 at 1.2
    assert best_threshold(margins, right, 2) == 1.2
    assert best_threshold(margins[:0], right[:0], 0) == 0.0


def test_real_pairs_and_pairs_of_one_text(data: Path, encoder: Encoder, tmp_path: Path) -> None:
    table = resource(some(data / "tatoeba-en-mr" / "train.tsv.gz", tmp_path, 400), "parallel", columns={"source": "en", "target": "mr"})
    found = {score.metric: score for score in Bitext(data=table, samples=100).evaluate(encoder, Context(seed=1))}
    assert set(found) == {"accuracy", "accuracy-back", "margin-accuracy", "f1"}
    assert all(0 <= score.value < 60 for score in found.values())  # two layers of e5 know little of translation
    copies = tmp_path / "copies.tsv"
    texts = [line.split("\t")[1] for line in (tmp_path / "some.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    copies.write_text("source\ttarget\n" + "".join(f"{text}\t{text}\n" for text in texts), encoding="utf-8")
    scores = Bitext(data=resource(copies, "parallel"), samples=100).evaluate(encoder, Context(seed=1))
    same = {score.metric: score.value for score in scores}
    assert [same[metric] for metric in ("accuracy", "accuracy-back", "margin-accuracy")] == [pytest.approx(100.0)] * 3
    assert same["f1"] > 90
    copies.write_text("source\ttarget\na\tb\n", encoding="utf-8")
    with pytest.raises(DataError, match="1 pairs are too few"):
        Bitext(data=resource(copies, "parallel")).evaluate(encoder, Context())
