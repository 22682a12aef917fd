"""Pair classification and hubness against scikit-learn, sentence-transformers and scipy, and on real texts."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langadapt_evaluators.evalrank import EvalRank, directions, ranks
from langadapt_evaluators.hubness import Hubness, antihubs, occurrences, robin_hood, skewness
from langadapt_evaluators.pair_classification import PairClassification, average_precision, best_accuracy, best_f1, f1
from scipy.stats import skew
from sklearn.metrics import average_precision_score, f1_score

from langadapt.contracts.component import Context
from langadapt.errors import DataError
from langadapt.inference.encoder import Encoder
from langadapt.manifests.resource import PathSource, Resource, Sources
from langadapt.planning.pinning import pin_paths

pytestmark = pytest.mark.usefixtures("one_thread")


def resource(path: Path, form: Any) -> Resource:
    found = Resource(name="test", format=form, sources=Sources(path=PathSource(paths=[str(path)])))
    return found.model_copy(update={"pinned": pin_paths(found, (path.absolute(),), "here")})


def table(source: Path, target: Path, start: int, stop: int) -> Resource:
    """Some rows of a gzipped table of paraphrases."""
    with gzip.open(source, "rt", encoding="utf-8") as handle:
        header, *lines = handle
    target.write_text(header + "".join(lines[start:stop]), encoding="utf-8")
    return resource(target, "paraphrase")


@pytest.fixture(scope="module")
def encoder(tiny: Path) -> Encoder:
    return Encoder.load(tiny, device="cpu")


PAIRS = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=40)


@given(PAIRS)
@settings(max_examples=300, deadline=None)
def test_measures_equal_scikit_learns(points: list[tuple[int, bool]]) -> None:
    scores, gold = np.array([score / 4 for score, _ in points]), np.array([label for _, label in points])
    if gold.any():
        assert average_precision(scores, gold) == pytest.approx(average_precision_score(gold, scores), abs=1e-12)
    said = scores >= 0
    assert f1(said, gold) == pytest.approx(f1_score(gold, said, zero_division=0.0), abs=1e-12)


@given(st.lists(st.tuples(st.floats(-1, 1, width=16), st.booleans()), min_size=4, max_size=40, unique_by=lambda pair: pair[0]))
@settings(max_examples=200, deadline=None)
def test_thresholds_are_as_good_as_sentence_transformers(points: list[tuple[float, bool]]) -> None:
    from sentence_transformers.evaluation import BinaryClassificationEvaluator as Theirs

    scores, gold = np.array([score for score, _ in points]), np.array([label for _, label in points])
    accuracy, _ = Theirs.find_best_acc_and_threshold(scores, gold, True)
    assert ((scores >= best_accuracy(scores, gold)) == gold).mean() >= accuracy - 1e-12
    best, *_ = Theirs.find_best_f1_and_threshold(scores, gold, True)
    assert f1(scores >= best_f1(scores, gold), gold) >= best - 1e-12


def test_a_threshold_stands_between_two_scores() -> None:
    scores, gold = np.array([0.9, 0.8, 0.4, 0.2]), np.array([True, True, False, False])
    assert best_accuracy(scores, gold) == best_f1(scores, gold) == pytest.approx(0.6)
    assert best_f1(scores, ~gold) == 0.2, "nothing is worth leaving out"


def test_real_paraphrases(data: Path, encoder: Encoder, tmp_path: Path) -> None:
    source = data / "mahaparaphrase-mr" / "train.tsv.gz"
    test, dev = table(source, tmp_path / "test.tsv", 0, 300), table(source, tmp_path / "dev.tsv", 300, 500)
    found = {score.metric: score for score in PairClassification(data=test, dev=dev, samples=100).evaluate(encoder, Context())}
    assert found["average precision"].n == 300
    low = found["average precision"].low
    assert low is not None
    assert low > 55, "half of the pairs are paraphrases"
    assert found["threshold of accuracy"].n == 200
    alone = {score.metric: score for score in PairClassification(data=test, samples=100).evaluate(encoder, Context())}
    assert 230 < alone["accuracy"].n < 270
    assert alone["threshold of accuracy"].n == 300 - alone["accuracy"].n
    one = table(source, tmp_path / "one.tsv", 0, 12)
    with pytest.raises(DataError, match="not enough to"):
        PairClassification(data=one, dev=dev, positive=["contradiction"]).evaluate(encoder, Context())


def test_ranks_are_those_of_the_authors_code() -> None:
    """Background scores sorted, the place by binary search, one at least: s_evaluation.py, with the sentence itself among the background.

    Ties apart: there a candidate as near as the right one ranks behind it, here before.
    """
    rng = np.random.default_rng(3)
    units = directions(rng.normal(size=(60, 5)) + 2, centred=True)
    assert units.mean(0) == pytest.approx(np.zeros(5), abs=0.2)
    pairs = rng.permutation(60).reshape(30, 2)
    expected = []
    for first, second in pairs:
        scores = units[[first]] @ units.T
        place = len(units) - np.searchsorted(np.sort(scores[0]), scores[0][second], side="right")
        expected.append(max(place, 1))
    assert ranks(units, pairs).tolist() == expected
    same = np.ones((5, 3)) / np.sqrt(3)
    assert ranks(same, np.array([[0, 1]])).tolist() == [4]


def test_pairs_of_real_text_are_searched(data: Path, encoder: Encoder, tmp_path: Path) -> None:
    with gzip.open(data / "stsb" / "mr" / "dev.tsv.gz", "rt", encoding="utf-8") as handle:
        lines = [line for _, line in zip(range(251), handle, strict=False)]
    file = tmp_path / "sts.tsv"
    file.write_text("".join(lines), encoding="utf-8")
    sts = resource(file, "sts")
    found = {score.metric: score for score in EvalRank(data=sts, samples=100).evaluate(encoder, Context())}
    assert found["hits@1"].value <= found["mrr"].value <= found["hits@3"].value + 40
    assert found["mrr"].low is not None
    assert found["mrr"].low > 20
    with gzip.open(data / "raw" / "mr.txt.gz", "rt", encoding="utf-8") as handle:
        (tmp_path / "more.txt").write_text("".join(next(handle)[:150].strip() + "\n" for _ in range(150)), encoding="utf-8")
    harder = EvalRank(data=sts, background=resource(tmp_path / "more.txt", "text"), centred=False, samples=100)
    easier = EvalRank(data=sts, centred=False, samples=100)
    assert harder.evaluate(encoder, Context())[0].value <= easier.evaluate(encoder, Context())[0].value
    with pytest.raises(DataError, match="pairs have a score of 1 or more"):
        EvalRank(data=resource(some_lines(file, tmp_path / "few.tsv", 20), "sts"), least=1).evaluate(encoder, Context())


def some_lines(source: Path, target: Path, count: int) -> Path:
    target.write_text("".join(source.read_text(encoding="utf-8").splitlines(keepends=True)[:count]), encoding="utf-8")
    return target


def test_occurrences_by_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langadapt_evaluators.hubness.ROWS", 7)
    vectors = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = np.zeros(40, dtype=int)
    for i in range(40):
        others = sorted((j for j in range(40) if j != i), key=lambda j: -float(vectors[i] @ vectors[j]))
        expected[others[:5]] += 1
    counts = occurrences(vectors, 5)
    assert counts.tolist() == expected.tolist()
    assert skewness(counts) == pytest.approx(skew(counts), abs=1e-9)
    assert robin_hood(np.array([10, 0, 0, 0])) == 0.75
    assert robin_hood(np.array([3, 3, 3])) == skewness(np.array([3, 3, 3])) == 0
    assert antihubs(np.array([0, 0, 1, 3])) == 0.5


def test_a_common_direction_makes_hubs(data: Path, encoder: Encoder, tmp_path: Path) -> None:
    """Hubs of an encoder's vectors, and none where every text has one neighbour that is its own."""
    with gzip.open(data / "raw" / "mr.txt.gz", "rt", encoding="utf-8") as handle:
        lines = [next(handle)[:200].strip() for _ in range(400)]
    text = tmp_path / "mr.txt"
    text.write_text("\n".join(lines), encoding="utf-8")
    found = {score.metric: score for score in Hubness(data=resource(text, "text"), samples=100).evaluate(encoder, Context())}
    assert found["skewness"].low is not None
    assert found["skewness"].low > 0.5
    assert 10 < found["Robin Hood"].value < 90
    assert not found["skewness"].higher_is_better
    pairs = np.repeat(np.eye(30, dtype=np.float32), 2, axis=0)
    assert set(occurrences(pairs, 1).tolist()) == {1}
    with pytest.raises(DataError, match="too few for 300 neighbours"):
        Hubness(data=resource(text, "text"), k=300).evaluate(encoder, Context())
