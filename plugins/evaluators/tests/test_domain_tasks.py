"""Classification, tagging, thresholds, isotropy and BM25: the measures on numbers worked out by hand, the tasks on real data."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from langadapt_evaluators.classification import macro_f1
from langadapt_evaluators.fine_tuning import Rules, fine_tuned, steps_of
from langadapt_evaluators.isotropy import iso_score, mean_cosine, partition
from langadapt_evaluators.similarity_overlap import by_sort, histogram, overlap
from langadapt_evaluators.tagging import spans
from langadapt_evaluators.thresholds import auc, youden
from scipy.stats import norm

from langadapt.contracts.reading import Labelled
from langadapt.data.tagged import read
from langadapt.errors import DataError

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def head(source: Path, target: Path, lines: int) -> Path:
    """The first lines of a gzipped file."""
    with gzip.open(source, "rt", encoding="utf-8") as handle:
        target.write_text("".join(line for _, line in zip(range(lines), handle, strict=False)), encoding="utf-8")
    return target


def scored(run: Run, *arguments: str | Path) -> dict[tuple[str, str], dict[str, Any]]:
    done = run("evaluate", *arguments, "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout).values()
    return {(one["task"].rsplit(" ", 1)[-1], one["metric"]): one for one in found}


def test_macro_f1_by_hand() -> None:
    gold, guess = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1, 0])
    # Class 0: 2 right, 3 there, 3 said: 2/3.  Class 1: 2, 2, 3: 4/5.  Class 2: 0.  A class that never occurs does not count.
    assert macro_f1(gold, guess, 4) == pytest.approx((2 / 3 + 4 / 5 + 0) / 3)
    sklearn = pytest.importorskip("sklearn.metrics")
    assert macro_f1(gold, guess, 3) == pytest.approx(sklearn.f1_score(gold, guess, average="macro"))


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["B-PER", "I-PER", "O", "B-LOC", "B-LOC"], {(0, 2, "PER"), (3, 4, "LOC"), (4, 5, "LOC")}),
        (["I-PER", "I-LOC"], {(0, 1, "PER"), (1, 2, "LOC")}),
        (["NEP", "NEP", "O", "NEL"], {(0, 2, "NEP"), (3, 4, "NEL")}),
        (["O", "O"], set()),
    ],
)
def test_spans(tags: list[str], expected: set[tuple[int, int, str]]) -> None:
    assert spans(tags) == expected


def test_a_tagged_file_with_a_bad_line(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("word\tO\nbroken\n", encoding="utf-8")
    with pytest.raises(DataError, match="1 columns where the first line has 2") as error:
        read(tmp_path / "a.conll")
    assert str(error.value.where).endswith("a.conll:2")


def test_threshold_and_area_by_hand() -> None:
    best = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    answerable = np.array([True, True, False, True, False])
    assert youden(best, answerable) == 0.8
    assert auc(best, answerable) == pytest.approx(5 / 6)
    assert np.isnan(auc(best, np.ones(5, dtype=bool)))


def test_isotropy_at_its_ends() -> None:
    rng = np.random.default_rng(0)
    even = rng.normal(size=(20_000, 16))
    line = np.outer(rng.normal(size=20_000) + 5, np.ones(16)) + 0.01 * rng.normal(size=(20_000, 16))
    assert mean_cosine(even) == pytest.approx(0, abs=0.01)
    assert mean_cosine(line) == pytest.approx(1, abs=0.01)
    assert iso_score(even) > 0.98
    assert iso_score(line) < 0.02
    assert partition(even) > 0.9 > 0.3 > partition(line)
    sample = rng.normal(size=(40, 8))
    units = sample / np.linalg.norm(sample, axis=1, keepdims=True)
    pairs = [units[i] @ units[j] for i in range(40) for j in range(40) if i != j]
    assert mean_cosine(sample) == pytest.approx(np.mean(pairs))


@pytest.mark.slow
def test_sentiment_of_real_tweets(run: Run, data: Path, e5: Path, tmp_path: Path) -> None:
    train = head(data / "umsab-tweets" / "spanish" / "train.tsv.gz", tmp_path / "train.tsv", 301)
    test = head(data / "umsab-tweets" / "spanish" / "dev.tsv.gz", tmp_path / "dev.tsv", 151)
    found = scored(run, e5, "--evaluator", "classification", "--data", train, "--test", test, "--option", "methods=[probe, knn]")
    assert found["probe", "macro-f1"]["n"] == 150
    for method in ("probe", "knn"):
        f1 = found[method, "macro-f1"]
        assert f1["low"] < f1["value"] < f1["high"]
        assert found[method, "accuracy"]["low"] > 34  # three classes of equal size
    repeated = scored(run, e5, "--evaluator", "classification", "--data", train, "--test", test, "--option", "methods=[probe, knn]")
    assert repeated == found


@pytest.mark.slow
def test_fine_tuning_learns_and_leaves_the_encoder_alone(tiny: Path, registry: Any, ctx: Any, tmp_path: Path) -> None:
    from langadapt.inference.encoder import Encoder
    from langadapt.manifests.resource import PathSource, Resource, Sources
    from langadapt.planning.pinning import pin_paths

    path = tmp_path / "t.tsv"
    words = {"good": ("गिटार", "पाऊस"), "bad": ("बाजार", "शिक्षक")}
    lines = [f"{words[label][i % 2]} {i}\t{label}" for i in range(120) for label in words]
    path.write_text("text\tlabel\n" + "\n".join(lines) + "\n", encoding="utf-8")
    data = Resource(name="t", format="classification", sources=Sources(path=PathSource(paths=[str(path)])))
    data = data.model_copy(update={"pinned": pin_paths(data, (path,), "test")})
    encoder = Encoder.load(tiny, registry=registry, device="cpu")
    before = encoder.encode(["गिटार"])
    slot = {"use": "classification", "data": data, "methods": ["fine-tune"], "seeds": 2, "least_steps": 30, "learning_rate": 1e-3}
    scores = registry.build("evaluator", slot).evaluate(encoder, ctx)
    assert scores[0].value > 95
    assert np.array_equal(encoder.encode(["गिटार"]), before)
    assert [one.value for one in registry.build("evaluator", slot).evaluate(encoder, ctx)] == [one.value for one in scores]


def test_few_rows_are_learnt_from_longer() -> None:
    rules = Rules(epochs=3, least_steps=400, most_epochs=20, batch_size=32, learning_rate=2e-5, adaptation=None)
    assert [steps_of(rules, rows) for rows in (32, 500, 1_000, 32_000)] == [20, 320, 400, 3_000]
    assert steps_of(replace(rules, least_steps=0), 500) == 48
    assert steps_of(replace(rules, least_steps=0), 2) == 3


def test_fine_tuning_lets_an_adaptation_choose_the_weights(tiny: Path, registry: Any, ctx: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reaches the loop: top layers drawn anew with ``reinit-top``, and a head as BERT's classifiers have it."""
    from langadapt.inference.encoder import Encoder

    seen: list[Any] = []
    monkeypatch.setattr("langadapt_evaluators.fine_tuning.train", lambda module, head, *rest, **named: seen.append((module, head)))
    encoder = Encoder.load(tiny, registry=registry, device="cpu")
    before = {name: weight.clone() for name, weight in encoder.trainable_copy().model.named_parameters()}
    texts = [(f"गिटार {i}",) for i in range(12)]
    rules = Rules(3, 0, 20, 4, 2e-5, registry.build("adaptation", {"use": "reinit-top", "layers": 1}))
    guesses = fine_tuned(encoder, Labelled(texts, ["a", "b"] * 6), np.array([0, 1] * 6), texts[:3], rules, 0, ctx)
    assert guesses.shape == (3,)
    (module, head), *more = seen
    assert not more
    changed = {name for name, weight in module.model.named_parameters() if not torch.equal(weight, before[name])}
    top = max(int(name.split("layer.")[1].split(".")[0]) for name in before if "layer." in name)
    assert changed
    assert all(f"layer.{top}." in name for name in changed)
    assert head[0].p == 0.1
    assert not head[1].bias.any()
    assert head[1].weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_overlap_is_the_area_that_two_distributions_share() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(0.3, 0.1, 20_000), rng.normal(0.5, 0.1, 20_000)
    found = overlap(histogram(one), histogram(other))
    assert found == pytest.approx(2 * norm.cdf(-1), abs=0.01), "normals two deviations apart share 2 Φ(−1) of their area"
    assert overlap(histogram(one), histogram(one)) == pytest.approx(1)
    assert overlap(histogram(one), histogram(one - 1.2)) == 0
    assert histogram(np.array([-1.0, 1.0, 0.995])).tolist() == [1.0, *[0.0] * 98, 2.0]


def test_overlaps_of_questions_with_their_own_near_and_random_passages(ctx: Any) -> None:
    """Against plain loops over vectors on a sphere."""
    from langadapt.contracts.reading import retrieval

    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(40, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries, passages = vectors[:20], vectors[20:]
    names = [f"p{i}" for i in range(20)]
    found = retrieval.Retrieval(
        {f"q{i}": f"q{i}" for i in range(20)}, dict(zip(names, names, strict=True)), {f"q{i}": {f"p{i}": 1.0} for i in range(20)}
    )
    sorts = by_sort(queries, passages, found, list(found.queries), 3, np.random.default_rng(0))
    for i in range(20):
        cosines = [float(queries[i] @ one) for one in passages]
        others = sorted(cosine for j, cosine in enumerate(cosines) if j != i)
        assert sorts["correct"][i].tolist() == histogram(np.array([cosines[i]])).tolist()
        assert sorts["top-k"][i].tolist() == histogram(np.array(others[-3:])).tolist()
        assert sorts["random"][i].sum() == 3
        assert not sorts["random"][i][histogram(np.array(others)) == 0].any(), "a passage that is right is never a random one"


@pytest.mark.slow
def test_question_entailment_as_a_pair_task(run: Run, data: Path, e5: Path, tmp_path: Path) -> None:
    train = head(data / "rqe-en-clinical" / "train.tsv.gz", tmp_path / "train.tsv", 201)
    found = scored(run, e5, "--evaluator", "classification", "--data", train)
    assert 20 < found["probe", "accuracy"]["n"] < 60


@pytest.mark.slow
def test_entities_of_real_text(run: Run, data: Path, e5: Path, tmp_path: Path) -> None:
    train = head(data / "bc5cdr-en-clinical" / "train.conll.gz", tmp_path / "train.conll", 9000)
    test = head(data / "bc5cdr-en-clinical" / "dev.conll.gz", tmp_path / "dev.conll", 3000)
    found = scored(run, e5, "--evaluator", "tagging", "--data", train, "--test", test, "--option", "limit=200")
    f1 = next(value for (_, metric), value in found.items() if metric == "entity f1")
    assert 20 < f1["low"] < f1["value"] < f1["high"] < 90


@pytest.mark.slow
def test_thresholds_isotropy_and_bm25_on_real_questions(run: Run, data: Path, e5: Path, tmp_path: Path) -> None:
    table = head(data / "teleqna-en-telecom" / "train.jsonl.gz", tmp_path / "qa.jsonl", 300)
    found = scored(run, e5, "--evaluator", "thresholds", "--data", table)
    assert found["answerable", "auc"]["low"] > 60
    assert found["answerable", "threshold"]["low"] is None
    areas = scored(run, e5, "--evaluator", "similarity-overlap", "--data", table)
    assert areas["overlap", "correct | random"]["high"] < areas["overlap", "correct | top-k"]["low"], (
        "near passages look more like right ones"
    )
    even = scored(run, e5, "--evaluator", "isotropy", "--data", table, "--option", "texts=200")
    values = {metric: one["value"] for (_, metric), one in even.items()}
    assert 0.5 < values["mean cosine"] < 1
    assert values["IsoScore"] < 0.5
    assert all(one["low"] < one["value"] < one["high"] for one in even.values())  # repeated rows alone would lower IsoScore
    words = scored(run, e5, "--evaluator", "bm25", "--data", table)
    assert words["bm25", "mrr@10"]["value"] > 60


@pytest.mark.parametrize(
    ("evaluator", "name", "content", "told"),
    [
        ("classification", "a.tsv", "text\tlabel\n" + "".join(f"t{i}\tx\n" for i in range(100)), "all rows are labelled 'x'"),
        ("classification", "a.tsv", "text\tlabl\nx\ty\n", "no column 'label' (there are: text, labl)"),
        ("classification", "a.tsv", "text\tlabel\na\tx\nb\ty\n", "too few"),
        ("tagging", "a.conll", "".join(f"word{i}\tO\n\n" for i in range(100)), "all words are tagged 'O'"),
        ("thresholds", "a.tsv", "question\tanswer\n" + "".join(f"q{i}\ta{i}\n" for i in range(10)), "too few to choose a threshold"),
        ("isotropy", "a.txt", "one\ntwo\n", "too few to measure isotropy"),
    ],
)
def test_data_that_cannot_be_scored(evaluator: str, name: str, content: str, told: str, run: Run, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    done = run("evaluate", tiny, "--evaluator", evaluator, "--data", tmp_path / name)
    assert done.returncode == 2, done.stdout
    assert told in done.stderr
    assert "Traceback" not in done.stderr
