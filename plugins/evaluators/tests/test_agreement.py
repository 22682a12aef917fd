"""The field's own libraries on the same data: seqeval, bert-score."""

from __future__ import annotations

import gzip
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from langadapt_evaluators import tagging
from langadapt_evaluators.bertscore import similarity
from langadapt_evaluators.tagging import spans

from langadapt.contracts.component import Context
from langadapt.inference.encoder import Encoder
from langadapt.manifests.resource import Format, PathSource, Resource, Sources
from langadapt.planning.pinning import pin_paths

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def encoder(tiny: Path) -> Encoder:
    return Encoder.load(tiny, device="cpu")


def resource(path: Path, form: Format) -> Resource:
    found = Resource(name="given", format=form, sources=Sources(path=PathSource(paths=[str(path)])))
    return found.model_copy(update={"pinned": pin_paths(found, (path.absolute(),), "here")})


def test_entities_are_seqevals(encoder: Encoder, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F1 of a tagger on real Marathi entities, and of tags drawn at random, broken ones among them."""
    seqeval = pytest.importorskip("seqeval.metrics")
    said: list[tuple[list[list[str]], list[list[str]]]] = []
    counted = tagging.counts

    def listening(gold: list[list[str]], guess: list[list[str]], entities: bool) -> object:
        said.append((gold, guess))
        return counted(gold, guess, entities)

    monkeypatch.setattr(tagging, "counts", listening)
    (source,) = (data / "mahaner-mr").glob("train*")
    with gzip.open(source, "rt", encoding="utf-8") as handle:
        (tmp_path / "ner.conll").write_text("".join(islice(handle, 6000)), encoding="utf-8")
    evaluator = tagging.Tagging(data=resource(tmp_path / "ner.conll", "tags"), limit=200, samples=100)
    found = {score.metric: score for score in evaluator.evaluate(encoder, Context())}
    gold, guess = said[0]
    assert found["entity f1"].value == pytest.approx(100 * seqeval.f1_score(gold, guess), abs=1e-6)
    assert found["accuracy"].value == pytest.approx(100 * seqeval.accuracy_score(gold, guess), abs=1e-6)
    assert 0 < found["entity f1"].value < 100

    rng = np.random.default_rng(0)
    tags = np.array(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])
    gold, guess = ([rng.choice(tags, int(n)).tolist() for n in rng.integers(1, 12, 400)] for rng in (rng, np.random.default_rng(0)))
    guess = [[str(rng.choice(tags)) if rng.random() < 0.3 else tag for tag in one] for one in guess]
    both = sum(len(spans(a) & spans(b)) for a, b in zip(gold, guess, strict=True))
    f1 = 2 * both / (sum(len(spans(one)) for one in gold) + sum(len(spans(one)) for one in guess))
    assert f1 == pytest.approx(seqeval.f1_score(gold, guess), abs=1e-9)


@pytest.mark.parametrize("idf", [False, True])
def test_bertscore_is_bert_scores(idf: bool, encoder: Encoder, tiny: Path, data: Path) -> None:
    """Precision, recall and F of each real pair by the package on the same weights."""
    bert_score = pytest.importorskip("bert_score")
    with gzip.open(data / "stsb" / "mr" / "dev.tsv.gz", "rt", encoding="utf-8") as handle:
        rows = [line.split("\t") for line in islice(handle, 61)]
    left, right = ([row[rows[0].index(name)] for row in rows[1:]] for name in ("sentence1", "sentence2"))
    theirs = bert_score.score(left, right, model_type=str(tiny), num_layers=2, idf=idf, device="cpu")
    ours = similarity(encoder, left, right, idf, Context())
    assert np.allclose(ours, np.stack([one.numpy() for one in theirs], 1), atol=1e-5)
    assert ours[:, 2].std() > 0.01
