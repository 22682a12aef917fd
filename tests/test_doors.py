"""Verbs and objectives that learn from another encoder, from the command to a release."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from langadapt import Encoder
from langadapt.artifacts import dataset
from langadapt.artifacts import encoder as encoders
from langadapt.errors import ModelError
from langadapt.registry.registry import Registry

Run = Callable[..., "subprocess.CompletedProcess[str]"]

HEAD = "recipe: doors\nsummary: One door.\nstages:\n  base: {do: load, source: $lang.encoder, pooler: mean, max_length: 64}\n"
TAIL = "  release: {do: export, encoder: last, exporters: sentence-transformers}\n"
TRAIN = "batch_size: 4, precision: fp32, learning_rate: 1e-4"


@pytest.fixture
def build(run: Run, tiny: Path, pairs: dict[str, Path], tmp_path: Path) -> Callable[..., Any]:
    lines = pairs["sts"].read_text(encoding="utf-8").splitlines()[1:]
    (tmp_path / "corpus.txt").write_text("\n".join(dict.fromkeys(line.split("\t")[0] for line in lines)) + "\n", encoding="utf-8")

    def command(*stages: str, tail: str = TAIL, more: tuple[str, ...] = ()) -> Any:
        (tmp_path / "r.yaml").write_text(HEAD + "".join(f"  {stage}\n" for stage in stages) + tail, encoding="utf-8")
        given = [f"--resource=nli={pairs['nli']}", f"--resource=sts={pairs['sts']}", f"--resource=corpus={tmp_path / 'corpus.txt'}"]
        return run("build", "--lang", "mr", "--recipe", "r.yaml", "--base", tiny, *given, "--out", "out", "--json", *more, timeout=300)

    return command


def artifact(done: Any, stage: str, folder: Path) -> Path:
    assert done.returncode == 0, done.stderr
    return folder / "store" / "objects" / str(json.loads(done.stdout)["keys"][stage])


def test_a_student_learns_vectors_that_were_computed_once(build: Any, tmp_path: Path, tiny: Path) -> None:
    done = build(
        "corpus: {do: collect, corpus: {use: resource, data: $lang.corpus}}",
        "taught: {do: annotate, data: corpus, teacher: base, annotators: vectors}",
        "small: {do: load, encoder: base, layers: 1}",
        f"last: {{do: train, encoder: small, data: taught, objective: mse-distil, steps: 30, {TRAIN}}}",
    )
    table = dataset.load(artifact(done, "taught", tmp_path))
    assert {name: role.value for name, role in table.roles.items()} == {"text": "text", "vector": "numbers"}
    texts = list(table.rows["text"])
    teacher = Encoder.load(tiny, device="cpu").encode(texts)
    assert np.abs(np.array(table.rows["vector"], dtype=np.float32) - teacher).max() < 1e-4
    before = Encoder.load(artifact(done, "small", tmp_path), device="cpu").encode(texts)
    after = Encoder.load(tmp_path / "out" / "release", device="cpu").encode(texts)
    assert ((after - teacher) ** 2).mean() < 0.5 * ((before - teacher) ** 2).mean()


def test_a_student_learns_states_at_every_step(build: Any, tmp_path: Path, tiny: Path) -> None:
    done = build(
        "corpus: {do: collect, corpus: {use: resource, data: $lang.corpus}}",
        "small: {do: load, encoder: base, layers: 1}",
        "last: {do: train, encoder: small, data: corpus, teacher: base, objective: {use: layer-distil, attentions: true}, steps: 30, "
        f"{TRAIN}}}",
    )
    assert done.returncode == 0, done.stderr
    texts = (tmp_path / "corpus.txt").read_text(encoding="utf-8").splitlines()
    teacher = Encoder.load(tiny, device="cpu").encode(texts)
    before = Encoder.load(artifact(done, "small", tmp_path), device="cpu").encode(texts)
    after = Encoder.load(tmp_path / "out" / "release", device="cpu").encode(texts)
    assert ((after - teacher) ** 2).mean() < 0.5 * ((before - teacher) ** 2).mean()


def test_lists_of_candidates_from_a_teacher(build: Any, tmp_path: Path) -> None:
    done = build(
        "nli: {do: pair, source: {use: nli, data: $lang.nli}}",
        "tuned: {do: train, encoder: base, data: nli, objective: multiple-negatives, steps: 2, batch_size: 4, precision: fp32}",
        "asked: {do: pair, source: {use: retrieval, data: $lang.pairs}}",
        "taught: {do: annotate, data: asked, teacher: tuned, annotators: {use: candidates, others: 3}}",
        f"last: {{do: train, encoder: base, data: taught, objective: listwise-distil, steps: 4, {TRAIN}}}",
        more=(f"--resource=pairs={questions(tmp_path)}",),
    )
    table = dataset.load(artifact(done, "taught", tmp_path))
    for row in table.rows:
        assert row["candidates"][0] == row["positive"]
        assert len(set(row["candidates"])) == len(row["scores"]) == 4
    teacher = Encoder.load(artifact(done, "tuned", tmp_path), device="cpu")
    row = table.rows[0]
    assert np.abs(teacher.similarity([row["anchor"]], row["candidates"])[0] - row["scores"]).max() < 1e-5


def questions(folder: Path) -> Path:
    rows = [("कोण गिटार वाजवतो?", "एक माणूस गिटार वाजवत आहे"), ("शाळा कधी बंद असते?", "आज पाऊस पडला आणि शाळा बंद आहे")]
    rows += [("मुले कुठे खेळतात?", "मुले मैदानात खेळत आहेत"), ("ती काय करते?", "ती रोज गाते"), ("नदी कुठे वाहते?", "नदी गावाजवळ वाहते")]
    path = folder / "questions.tsv"
    path.write_text("question\tanswer\n" + "".join(f"{a}\t{b}\n" for a, b in rows), encoding="utf-8")
    return path


def test_batches_of_clusters(build: Any, tmp_path: Path) -> None:
    done = build(
        "nli: {do: pair, source: {use: nli, data: $lang.nli}}",
        "grouped: {do: annotate, data: nli, teacher: base, annotators: {use: clusters, of: premise, k: 2}}",
        "sts: {do: pair, source: {use: sts, data: $lang.sts}}",
        "both: {do: annotate, data: sts, teacher: base, annotators: {use: clusters, of: sentence1, k: 2}}",
        f"last: {{do: train, encoder: base, data: both, objective: cosine-sts, sampler: clusters, steps: 3, {TRAIN}}}",
    )
    labels = dataset.load(artifact(done, "grouped", tmp_path)).rows["cluster"]
    assert set(labels) == {0, 1}


def test_the_mean_of_two_encoders(build: Any, tmp_path: Path, registry: Registry) -> None:
    done = build(
        "sts: {do: pair, source: {use: sts, data: $lang.sts}}",
        f"one: {{do: train, encoder: base, data: sts, objective: cosine-sts, steps: 2, {TRAIN}}}",
        f"two: {{do: train, encoder: base, data: sts, objective: cosine-sts, steps: 3, {TRAIN}}}",
        "last: {do: merge, encoders: [one, two], merger: {use: average, shares: [3, 1]}}",
    )
    one, two, mean = (encoders.load(artifact(done, name, tmp_path), False).model.state_dict() for name in ("one", "two", "last"))
    moved = 0
    for name, value in mean.items():
        if value.is_floating_point():
            assert torch.allclose(value, 0.75 * one[name] + 0.25 * two[name], atol=1e-7)
            moved += not torch.equal(one[name], two[name])
    assert moved > 10


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        (
            (
                "sts: {do: pair, source: {use: sts, data: $lang.sts}}",
                "last: {do: train, encoder: base, data: sts, objective: mlm, steps: 2}",
            ),
            "mlm",
        ),
        (
            ("sts: {do: pair, source: {use: sts, data: $lang.sts}}", "t: {do: annotate, data: sts, teacher: base, annotators: vectors}"),
            "'vectors' reads 'text' as text, but 'sts' has (sentence1, sentence2, score)",
        ),
        (
            (
                "sts: {do: pair, source: {use: sts, data: $lang.sts}}",
                "t: {do: annotate, data: sts, teacher: base, annotators: {use: vectors, of: sentence1, into: text}}",
                "last: {do: train, encoder: base, data: t, objective: mlm, steps: 2}",
            ),
            "objective 'mlm' reads 'text' as text, but 't' holds numbers there",
        ),
        (
            (
                "corpus: {do: collect, corpus: {use: resource, data: $lang.corpus}}",
                "last: {do: train, encoder: base, data: corpus, objective: layer-distil, steps: 2}",
            ),
            "objective 'layer-distil' asks a teacher at every step, and stage 'last' names none",
        ),
        (
            (
                "corpus: {do: collect, corpus: {use: resource, data: $lang.corpus}}",
                "last: {do: train, encoder: base, data: corpus, teacher: base, objective: mlm, steps: 2}",
            ),
            "stage 'last' names a teacher, and objective 'mlm' asks none",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(build: Any, tmp_path: Path, stages: tuple[str, ...], told: str) -> None:
    done = build(*stages, tail="" if "last" not in "".join(stages) else TAIL)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert not (tmp_path / "out" / "release").exists()


def test_a_sampler_that_misses_its_column(build: Any) -> None:
    done = build(
        "sts: {do: pair, source: {use: sts, data: $lang.sts}}",
        f"last: {{do: train, encoder: base, data: sts, objective: cosine-sts, sampler: clusters, steps: 3, {TRAIN}}}",
    )
    assert done.returncode == 2, done.stderr
    assert "the sampler 'clusters' looks at 'cluster', and 'sts' has (score, sentence1, sentence2)" in done.stderr


def test_encoders_of_other_shapes_have_no_mean(build: Any) -> None:
    done = build("small: {do: load, encoder: base, layers: 1}", "last: {do: merge, encoders: [base, small], merger: average}")
    assert done.returncode == 2, done.stderr
    assert "'base' and 'small' cannot become one encoder" in done.stderr


def test_an_adapter_takes_no_pooler_with_weights(build: Any) -> None:
    done = build(
        "sts: {do: pair, source: {use: sts, data: $lang.sts}}",
        f"last: {{do: train, encoder: base, data: sts, objective: cosine-sts, adaptation: lora, pooler: layer-mix, steps: 2, {TRAIN}}}",
    )
    assert done.returncode == 2, done.stderr
    assert "'layer-mix' has weights of its own" in done.stderr


def test_a_pooler_without_its_weights_is_refused(build: Any, tmp_path: Path, registry: Registry) -> None:
    done = build("last: {do: load, encoder: base, pooler: layer-mix}")
    folder = artifact(done, "last", tmp_path)
    assert Encoder.load(folder, device="cpu", registry=registry).encode(["घर"]).shape == (1, 384)
    assert Encoder.load(folder, device="cpu", registry=registry, pooler="layer-mix").encode(["घर"]).shape == (1, 384)
    (folder / "pooler.safetensors").unlink()
    with pytest.raises(ModelError, match="there are no weights of its pooler 'layer-mix'"):
        Encoder.load(folder, device="cpu", registry=registry)


def test_data_of_a_store_of_0_1_are_read(build: Any, tmp_path: Path) -> None:
    done = build("corpus: {do: collect, corpus: {use: resource, data: $lang.corpus}}", tail="")
    folder = artifact(done, "corpus", tmp_path)
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    before = list(dataset.load(folder).texts())
    del about["roles"]
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")
    assert list(dataset.load(folder).texts()) == before
