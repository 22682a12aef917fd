"""Other vectors beside the encoder's, several labels of a row, a picture: by formulas stated again, and on real Marathi."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langadapt_evaluators import multi_label
from langadapt_evaluators.classification import Classification
from langadapt_evaluators.text_vectors import features, in_the_plane

from langadapt.contracts.component import Context
from langadapt.errors import DataError
from langadapt.inference.encoder import Encoder
from langadapt.manifests.resource import PathSource, Resource, Sources
from langadapt.planning.pinning import pin_paths

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def encoder(tiny: Path) -> Encoder:
    return Encoder.load(tiny, device="cpu")


def resource(path: Path) -> Resource:
    found = Resource(name=path.name.partition(".")[0], format="classification", sources=Sources(path=PathSource(paths=[str(path)])))
    return found.model_copy(update={"pinned": pin_paths(found, (path.absolute(),), "here")})


@pytest.fixture(scope="module")
def sentiment(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Resource:
    """Real Marathi tweets, rows from all over the file."""
    with gzip.open(data / "mahasent-mr" / "mr" / "train.tsv.gz", "rt", encoding="utf-8") as handle:
        header, *lines = handle
    path = tmp_path_factory.mktemp("labels") / "sentiment.tsv"
    path.write_text(header + "".join(lines[:: max(1, len(lines) // 160)][:160]), encoding="utf-8")
    return resource(path)


def test_columns_side_by_side(encoder: Encoder, sentiment: Resource) -> None:
    pytest.importorskip("gensim")
    names = ["encoder", "fasttext", "encoder+characters"]
    found = Classification(data=sentiment, vectors=names, samples=100).evaluate(encoder, Context())
    assert [score.task for score in found] == [f"sentiment probe {name}" for name in names for _ in range(2)]
    assert all(score.low <= score.value <= score.high for score in found)  # type: ignore[operator]
    plain = Classification(data=sentiment, samples=100).evaluate(encoder, Context())
    assert [score.task for score in plain] == ["sentiment probe"] * 2
    assert plain[0].value == found[0].value
    with pytest.raises(ValueError, match="no vectors 'tf-idf'"):
        Classification(data=sentiment, vectors=["tf-idf"])


def test_the_input_layer_is_without_context(encoder: Encoder) -> None:
    """The mean of a layer's states is the encoder's own way; letters do not know the words' order."""
    sides = [[("एक माणूस",), ("it rains",)], [("माणूस एक",)]]
    first, second = features("input", encoder, sides, [], Context())
    assert np.allclose(first, encoder.at_layer(0).encode(["एक माणूस", "it rains"], normalize=True), atol=1e-6)
    letters = features("characters", encoder, sides, [], Context())
    assert np.allclose(letters[0][0], letters[1][0])
    joined = features("input+characters", encoder, sides, [], Context())
    assert np.allclose(joined[1], np.concatenate([second, letters[1]], 1))
    pairs = features("characters", encoder, [[("एक", "दोन")], [("एक", "एक")]], [], Context())
    width = letters[0].shape[1]
    assert pairs[0].shape == (1, 4 * width)
    assert np.allclose(pairs[1][0, 2 * width : 3 * width], 0)


def test_several_labels_are_scikit_learns(encoder: Encoder, tmp_path: Path) -> None:
    from sklearn.metrics import accuracy_score, f1_score

    rng = np.random.default_rng(0)
    right, said = (rng.random((80, 4)) < share for share in (0.3, 0.4))
    right[:, 3] = said[:, 3] = False
    assert multi_label.micro_f1(right, said) == pytest.approx(f1_score(right, said, average="micro", zero_division=0))
    each = f1_score(right, said, average=None, zero_division=0)[:3]
    assert multi_label.macro_f1(right, said) == pytest.approx(each.mean())
    words, rows = {"rain": "पाऊस", "bread": "भाकरी", "river": "नदी"}, []
    for i in range(160):
        have = [name for name in words if rng.random() < 0.5]
        rows.append(f"{i} {' '.join(words[name] for name in have)} आहे\t{'|'.join(have) or 'none'}")
    (tmp_path / "labels.tsv").write_text("text\tlabel\n" + "\n".join(rows) + "\n", encoding="utf-8")
    scores = Classification(data=resource(tmp_path / "labels.tsv"), multi_label="|", vectors=["characters"], samples=100).evaluate(
        encoder, Context()
    )
    found = {score.metric: score for score in scores}
    assert list(found) == ["micro-f1", "macro-f1", "exact match"]
    assert found["micro-f1"].value > 95
    assert found["exact match"].items is not None
    assert found["exact match"].value == pytest.approx(found["exact match"].items.mean())
    assert accuracy_score(right, said) == pytest.approx((right == said).all(1).mean())
    with pytest.raises(ValueError, match="'probe' alone"):
        Classification(data=resource(tmp_path / "labels.tsv"), multi_label="|", methods=["knn"])
    with pytest.raises(DataError, match="1 labels are too few"):
        multi_label.scores("t", right, ["a"] * 80, right, ["a"] * 80, "|", 100, Context())
    with pytest.raises(DataError, match="never sees: c"):
        multi_label.scores("t", right, ["a|b", "a"] * 40, right, ["a", "c"] * 40, "|", 100, Context())


def test_a_label_that_every_row_has(encoder: Encoder) -> None:
    """It is said of every row; one that no row to learn from has is said of none."""
    x = np.random.default_rng(0).normal(size=(40, 3))
    there = np.stack([x[:, 0] > 0, np.ones(40, bool), np.zeros(40, bool)], 1)
    said = multi_label.predicted(x, there, x[:10])
    assert said[:, 1].all()
    assert not said[:, 2].any()
    assert multi_label.predicted(x, there[:, 1:2], x[:3]).all()
    assert (said[:, 0] == (x[:10, 0] > 0)).mean() > 0.8


def test_a_picture_of_the_test(encoder: Encoder, sentiment: Resource) -> None:
    """Points of the test's rows with their labels, beside the confusions; near texts lie near."""
    found = Classification(data=sentiment, picture=True, samples=100).evaluate(encoder, Context())
    drawn: dict[str, Any] = {next(iter(score.drawing)): score.drawing for score in found if score.drawing}
    assert list(drawn) == ["confusion", "classes"]
    points = drawn["classes"]["classes"]
    assert len(points["x"]) == len(points["y"]) == len(points["labels"]) == found[0].n
    assert set(points["labels"]) <= set(drawn["confusion"]["confusion"]["labels"])
    rng = np.random.default_rng(0)
    groups = np.repeat(np.eye(3)[:, :] * 5, 20, axis=0) + rng.normal(size=(60, 3)) * 0.1
    plane = in_the_plane(groups, 0)
    distances = np.linalg.norm(plane[:, None] - plane[None], axis=-1) + np.eye(60) * 1e9
    assert (distances.argmin(1) // 20 == np.arange(60) // 20).all()
    assert np.array_equal(plane, in_the_plane(groups, 0))
    assert not in_the_plane(np.ones((20, 5), np.float32), 1).any()  # an encoder that collapsed
