"""Scorers: against transformers and sentence-transformers, from training to a release, and refused where an encoder is meant."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from langadapt.artifacts import scorer as scorers
from langadapt.errors import DataError, ModelError
from langadapt.inference.scorer import Scorer
from langadapt.modeling.framing import PairFrame
from langadapt.modeling.loading import load_tokenizer

Run = Callable[..., "subprocess.CompletedProcess[str]"]

PAIRS = [
    ("कोण गिटार वाजवतो?", "एक माणूस गिटार वाजवत आहे"),
    ("शाळा?", "नदी " * 200),
    ("नदी " * 200, "शाळा?"),
    ("नदी " * 200, "गाव " * 200),
    ("घर", "आज पाऊस पडला"),
]

RECIPE = """recipe: rerank
summary: A scorer of pairs.
stages:
  base:    {do: load, source: $lang.encoder, max_length: 32}
  asked:   {do: pair, source: {use: retrieval, data: $lang.pairs}}
  scorer:  {do: train, encoder: base, data: asked, objective: {use: cross-encoder, negatives: 3}, steps: STEPS, batch_size: 8,
            precision: fp32, learning_rate: 3e-4}
  scores:  {do: evaluate, encoders: [scorer], evaluators: {use: rerank, data: $lang.pairs, candidates: 5, samples: 100}}
  release: {do: export, encoder: scorer, scores: scores, exporters: cross-encoder}
"""

QUESTIONS = [
    ("कोण गिटार वाजवतो?", "एक माणूस गिटार वाजवत आहे"), ("शाळा कधी बंद असते?", "आज पाऊस पडला आणि शाळा बंद आहे"),
    ("मुले कुठे खेळतात?", "मुले मैदानात खेळत आहेत"), ("ती काय करते?", "ती रोज गाणे गाते"), ("नदी कुठे वाहते?", "नदी गावाजवळ वाहते"),
    ("शेतकरी काय करतो?", "शेतकरी शेतात काम करतो"), ("गहू महाग आहे का?", "गव्हाची किंमत वाढली आहे"), ("बाजार कधी भरतो?", "बाजार रविवारी भरतो"),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("scorer")
    scorers.save(scorers.load(tiny, max_length=48), path)
    return path


def test_scores_are_those_of_transformers(folder: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    scorer = Scorer.load(folder, device="cpu")
    found = scorer.score(PAIRS)
    assert found == pytest.approx([float(scorer.score([pair])[0]) for pair in PAIRS], abs=1e-5)  # whatever stands beside it
    for (left, right), score in zip([PAIRS[0], PAIRS[4]], found[[0, 4]], strict=True):
        with torch.no_grad():
            theirs = model(**tokenizer(left, right, return_tensors="pt")).logits[0, 0]
        assert float(theirs) == pytest.approx(float(score), abs=1e-6)
    with pytest.raises(DataError, match="pair 1 is no two texts"):
        scorer.score([("a", "b"), ("a",)])  # type: ignore[list-item]


def test_long_pairs_keep_the_frame_and_both_texts(tiny: Path) -> None:
    tokenizer = load_tokenizer(tiny)
    frame = PairFrame.of(tokenizer)
    for left, right in PAIRS:
        ids, types = frame.join(tokenizer(left)["input_ids"], tokenizer(right)["input_ids"], 48)
        whole = tokenizer(left, right)["input_ids"]
        assert ids == (whole if len(whole) <= 48 else ids)
        assert len(ids) == len(types) == min(48, len(whole))
        theirs = tokenizer(left, right, truncation="longest_first", max_length=48)["input_ids"]
        assert ids == theirs


def test_a_tokenizer_that_frames_no_pairs(tiny: Path) -> None:
    from langadapt.modeling.token_ids import plain_tokenizer

    with pytest.raises(ModelError, match="puts nothing between two texts"):
        PairFrame.of(plain_tokenizer(load_tokenizer(tiny)))


def build(run: Run, tiny: Path, folder: Path, steps: int = 2, old: str = "", new: str = "") -> Any:
    recipe = RECIPE.replace("STEPS", str(steps))
    assert old in recipe
    (folder / "r.yaml").write_text(recipe.replace(old, new), encoding="utf-8")
    (folder / "q.tsv").write_text("question\tanswer\n" + "".join(f"{a}\t{b}\n" for a, b in QUESTIONS), encoding="utf-8")
    command = ["build", "--lang", "mr", "--recipe", "r.yaml", "--base", tiny, "--resource=pairs=q.tsv", "--out=out", "--json"]
    return run(*command, timeout=300)


@pytest.mark.slow
def test_from_training_to_a_release(run: Run, tiny: Path, tmp_path: Path) -> None:
    from sentence_transformers import CrossEncoder

    done = build(run, tiny, tmp_path, steps=120)
    assert done.returncode == 0, done.stderr
    release = tmp_path / "out" / "release"
    pairs = [(question, answer) for question, _ in QUESTIONS for _, answer in QUESTIONS]
    scorer = Scorer.load(release, device="cpu")
    found = scorer.score(pairs)
    assert (found.reshape(8, 8).argmax(1) == np.arange(8)).sum() >= 7  # it has learnt its eight pairs
    theirs = CrossEncoder(str(release), device="cpu").predict(pairs)
    assert np.abs(theirs - 1 / (1 + np.exp(-found))).max() < 1e-5
    rows = json.loads((release / "scores.json").read_text(encoding="utf-8"))["scorer"]
    assert {row["metric"] for row in rows} >= {"mrr@10", "ndcg@10"}
    card = (release / "README.md").read_text(encoding="utf-8")
    assert "CrossEncoder(" in card
    assert "pipeline_tag: text-ranking" in card
    assert run("verify", release).returncode == 0


MISPLACED = [
    ("use: rerank, data: $lang.pairs, candidates: 5", "use: retrieval, data: $lang.pairs", "scores Encoder, and 'scorer' is a Scorer"),
    ("exporters: cross-encoder", "exporters: sentence-transformers", "writes Encoders, and 'scorer' is a Scorer"),
    ("encoder: scorer, scores", "encoder: base, scores", "the exporter 'cross-encoder' writes Scorers, and 'base' is an Encoder"),
    ("data: asked, objective", "data: asked, pooler: cls, objective", "leaves a scorer, which takes no pooler"),
    ("data: asked, objective", "data: asked, adaptation: lora, objective", "leaves a scorer, which takes no adaptation"),
]


@pytest.mark.parametrize(("old", "new", "told"), MISPLACED)
def test_a_scorer_where_an_encoder_is_meant(run: Run, tiny: Path, tmp_path: Path, old: str, new: str, told: str) -> None:
    done = build(run, tiny, tmp_path, 2, old, new)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr


def test_an_encoder_and_a_scorer_are_not_taken_for_one_another(run: Run, folder: Path, tiny: Path, tmp_path: Path) -> None:
    from langadapt import Encoder

    with pytest.raises(ModelError, match="is a scorer of pairs, and an encoder is meant"):
        Encoder.load(folder, device="cpu")
    with pytest.raises(ModelError, match="no trained head to score pairs with"):
        Scorer.load(tiny, device="cpu")
    table = tmp_path / "q.tsv"
    table.write_text("question\tanswer\n" + "".join(f"{a}\t{b}\n" for a, b in QUESTIONS), encoding="utf-8")
    done = run("evaluate", folder, "--evaluator", "rerank", "--data", table, "--json")
    assert done.returncode == 0, done.stderr
    done = run("evaluate", folder, "--evaluator", "retrieval", "--data", table)
    assert done.returncode == 2
    assert "'retrieval' scores Encoder" in done.stderr
