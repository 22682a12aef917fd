"""Whole builds with the real command: rerun, one change, kills, two processes, chains."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


RECIPE = """
recipe: small
summary: Every verb once, in seconds.
stages:
  base:    {do: load, source: $lang.encoder, pooler: mean, max_length: 64}
  nli:     {do: pair, source: {use: nli, data: $lang.nli}, normalizer: $lang.normalizer}
  sts:     {do: pair, source: {use: sts, data: $lang.sts}, normalizer: $lang.normalizer}
  corpus:  {do: collect, corpus: {use: resource, data: $lang.corpus}, normalizer: $lang.normalizer, selectors: [near-duplicates]}
  pieces:  {do: train-tokenizer, corpus: corpus, tokenizer: {use: unigram, vocab_size: 600}}
  moved:   {do: init-vocab, encoder: base, tokenizer: pieces, corpus: corpus, vocab-init: mean-subword}
  mlm:     {do: train, encoder: moved, data: corpus, objective: mlm, epochs: 3, batch_size: 8, learning_rate: 1e-3}
  first:   {do: train, encoder: mlm, data: nli, objective: multiple-negatives, epochs: 6, batch_size: 4, precision: fp32}
  second:  {do: train, encoder: first, data: sts, objective: cosine-sts, epochs: 4, batch_size: 4, learning_rate: 3e-5}
  white:   {do: fit-transform, encoder: second, data: sts, transform: {use: whitening, dimensions: 6}}
  scores:  {do: evaluate, encoders: [base, second, white], evaluators: {use: sts, data: $lang.sts, samples: 100}}
  release: {do: export, encoder: white, scores: scores, exporters: [sentence-transformers], normalizer: $lang.normalizer}
"""


@pytest.fixture
def small(tmp_path: Path, tiny: Path, pairs: dict[str, Path]) -> list[str]:
    """Arguments of a build that uses all nine verbs on a two-layer encoder."""
    recipe, corpus = tmp_path / "small.yaml", tmp_path / "corpus.txt"
    recipe.write_text(RECIPE, encoding="utf-8")
    lines = pairs["nli"].read_text(encoding="utf-8").splitlines()[1:] + pairs["sts"].read_text(encoding="utf-8").splitlines()[1:]
    corpus.write_text("\n".join(" ".join(line.split("\t")[:2]) for line in lines) + "\n", encoding="utf-8")
    resources = [f"--resource=nli={pairs['nli']}", f"--resource=sts={pairs['sts']}", f"--resource=corpus={corpus}"]
    return ["--lang", "mr", "--recipe", str(recipe), "--base", str(tiny), *resources, "--out", str(tmp_path / "run"), "--json"]


def digests(store: Path) -> dict[str, str]:
    """Verb → digest of every artifact in a store."""
    found = {}
    for record in sorted(store.glob("objects/*/artifact.json")):
        stated = json.loads(record.read_text())
        found[f"{stated['do']} {stated['key']}"] = stated["digest"]
    return found


def result(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _two_runs_side_by_side(run: Run, small: list[str], tmp_path: Path) -> None:
    """The report of a run, and the comparison with another that differs in one option, from their folders alone."""
    other = tmp_path / "other"
    result(run("build", *small, "--out", other))
    facts = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    assert [stage["name"] for stage in facts["stages"] if not stage["from_store"]] == ["second", "white", "scores", "release"]
    assert all(stage["seconds"] > 0 and stage["peak_mb"] > 0 for stage in facts["stages"] if not stage["from_store"])
    assert facts["released"] == "white"
    assert list(facts["examples"]["scores"]["encoders"]) == ["base", "second", "white"]
    assert {told["stage"]: told["read"] for told in facts["data"]}["nli"] >= 4
    page = tmp_path / "run" / "report.html"
    before = page.read_bytes()
    page.unlink()
    assert run("report", tmp_path / "run").stdout.strip() == str(page)
    assert page.read_bytes() == before

    found = json.loads(run("compare", other, tmp_path / "run", "--json", "--html", tmp_path / "both.html").stdout)
    first, second = found["scores"].values()
    assert second[0]["difference"]["value"] == pytest.approx(second[0]["value"] - first[0]["value"])
    assert second[0]["difference"]["test"] == "bootstrap"
    (plan,) = found["plans"].values()
    assert plan == {"second": ["learning_rate 3e-05 → 4e-05"]}
    assert "learning_rate 3e-05 → 4e-05" in (tmp_path / "both.html").read_text(encoding="utf-8")
    rows = json.loads(run("runs", tmp_path, "--json").stdout)
    assert [(row["state"], row["release"] != "–") for row in rows] == [("done", True), ("done", True)]
    refused = run("compare", other, tmp_path)
    assert refused.returncode == 2
    assert "is no run folder" in refused.stderr


def test_rerun_does_nothing_and_one_change_reruns_what_follows(run: Run, small: list[str], tmp_path: Path) -> None:
    first = result(run("build", *small))
    assert len(first["ran"]) == 12
    release = tmp_path / "run" / "release"
    assert {"README.md", "SHA256SUMS", "model.safetensors", "modules.json", "provenance.json", "scores.json"} <= {
        path.name for path in release.iterdir()
    }
    again = run("build", *small[:-1])
    assert again.returncode == 0
    assert "Nothing to do" in again.stdout
    changed = [*small, "--set", "stages.second.learning_rate=4e-5"]
    shown = run("plan", *changed[:-3], *changed[-2:])
    assert "learning_rate 3e-05 → 4e-05" in shown.stdout
    third = result(run("build", *changed))
    assert third["ran"] == ["second", "white", "scores", "release"]
    _two_runs_side_by_side(run, small, tmp_path)
    assert run("verify", release).returncode == 0
    assert run("verify").returncode == 0


@pytest.mark.slow
def test_killed_at_twenty_moments_it_ends_with_the_same_digests(run: Run, small: list[str], tmp_path: Path) -> None:
    run("--version")  # the libraries are loaded
    start = time.monotonic()
    result(run("build", *small))
    whole = time.monotonic() - start
    expected = digests(tmp_path / "store")

    store = tmp_path / "killed"
    environment = {"LANGADAPT_STORE": str(store), "LANGADAPT_CHECKPOINT_SECONDS": "0"}
    dice, kills, resumed = random.Random(20), 0, 0
    while kills < 20:
        try:
            result(run("build", *small, env=environment, timeout=dice.uniform(0.1, 0.9) * whole))
        except subprocess.TimeoutExpired:
            kills += 1
            resumed += any((store / "objects").glob("*")) or any((store / "partial").glob("*/checkpoints/*"))
        else:  # it finished before its kill: begin again from nothing
            assert digests(store) == expected
            shutil.rmtree(store)
    assert resumed >= 5  # the next start had something to go on from
    result(run("build", *small, env={**environment, "PYTHONHASHSEED": "1"}))  # in a process of its own, with other hashes
    assert digests(store) == expected
    assert not list((store / "partial").iterdir())


def processes_of(run_folder: Path) -> list[int]:
    """Process ids that met in a run, as its event file states them."""
    events = [json.loads(line) for line in (run_folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    return [pid for event in events if event["event"] == "processes" for pid in event["pids"]]


@pytest.mark.slow
def test_two_processes_give_the_same_encoder(run: Run, small: list[str], tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import load_file

    # Dropout draws differ between one and two processes; without it the weights must agree.
    steps = [f"--set=stages.{name}.{option}" for name in ("mlm", "first", "second") for option in ("dropout=0", "precision=fp32")]
    # Masks are drawn per process, so the masked-LM stage stays untrained here.
    small = [*small, *steps, "--set=stages.first.encoder=moved", "--set=stages.release.encoder=second"]
    one = result(run("build", *small, "--out", "one"))
    assert processes_of(tmp_path / "one") == []
    environment = {"LANGADAPT_STORE": str(tmp_path / "store2"), "OMP_NUM_THREADS": "1"}
    two = run("build", *small, "--processes", "2", "--device", "cpu", "--out", "two", env=environment)
    assert two.returncode == 0, two.stderr
    assert len(set(processes_of(tmp_path / "two"))) == 2
    keys = one["keys"]
    a = load_file(tmp_path / "store" / "objects" / keys["second"] / "model.safetensors")
    b = load_file(tmp_path / "store2" / "objects" / keys["second"] / "model.safetensors")
    worst = max(float(np.abs(a[name] - b[name]).max()) for name in a)
    assert worst < 2e-5


CLASSES = "text\tlabel\n" + "".join(
    f"{text} {i}\t{label}\n" for i in range(60) for text, label in (("चांगला दिवस", "good"), ("वाईट रात्र", "bad"))
)

SCORED = (
    "recipe: scored\nsummary: Train, then fine-tune a classifier inside an evaluator.\nstages:\n"
    "  base:   {do: load, source: $lang.encoder, max_length: 32}\n"
    "  sts:    {do: pair, source: {use: sts, data: $lang.sts}}\n"
    "  tuned:  {do: train, encoder: base, data: sts, objective: cosine-sts, steps: STEPS, batch_size: 4, dropout: 0}\n"
    "  scores: {do: evaluate, encoders: tuned, evaluators: [EVALUATOR]}\n"
    "  release: {do: export, encoder: tuned, scores: scores, exporters: sentence-transformers}\n"
)

EVALUATOR = "{use: classification, data: $lang.classification, methods: [fine-tune], seeds: 1}"


def scored(tmp_path: Path, tiny: Path, pairs: dict[str, Path], steps: int) -> list[str]:
    (tmp_path / "scored.yaml").write_text(SCORED.replace("STEPS", str(steps)).replace("EVALUATOR", EVALUATOR), encoding="utf-8")
    (tmp_path / "classes.tsv").write_text(CLASSES, encoding="utf-8")
    given = ["--lang=mr", f"--recipe={tmp_path / 'scored.yaml'}", f"--base={tiny}", f"--resource=sts={pairs['sts']}"]
    return [*given, f"--resource=classification={tmp_path / 'classes.tsv'}", "--out=run", "--device=cpu"]


@pytest.mark.slow
def test_an_evaluator_that_trains_does_not_wait_for_other_processes(run: Run, tiny: Path, pairs: dict[str, Path], tmp_path: Path) -> None:
    done = run("build", *scored(tmp_path, tiny, pairs, 2), "--processes=2", env={"OMP_NUM_THREADS": "1"}, timeout=150)
    assert done.returncode == 0, done.stderr
    assert len(set(processes_of(tmp_path / "run"))) == 2
    assert "2 processes over gloo" in done.stderr
    found = json.loads((tmp_path / "run" / "release" / "scores.json").read_text(encoding="utf-8"))
    assert {score["metric"] for score in found["tuned"]} == {"macro-f1", "accuracy"}


KILLER = """
import os, signal
from langadapt import hookimpl

@hookimpl
def langadapt_log(stage, step, metrics):
    if os.environ.get("RANK") == "1":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_worker_that_dies_ends_the_run_with_a_clear_error(run: Run, tiny: Path, pairs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "killer.py").write_text(KILLER, encoding="utf-8")
    arguments = scored(tmp_path, tiny, pairs, 20)
    build = ("--plugin", "killer", "build", *arguments, "--processes=2")
    done = run(*build, env={"OMP_NUM_THREADS": "1"}, timeout=150)
    assert done.returncode == 137
    assert "process 2 of 2 was ended by signal 9 (SIGKILL)" in done.stderr
    assert "Traceback" not in done.stderr
    again = run("build", *arguments, "--processes=2", env={"OMP_NUM_THREADS": "1"}, timeout=150)
    assert again.returncode == 0, again.stderr


def test_what_all_processes_refuse_is_said_once(run: Run, tiny: Path, pairs: dict[str, Path], tmp_path: Path) -> None:
    arguments = [*scored(tmp_path, tiny, pairs, 2), "--set=stages.tuned.objective=no-such"]
    done = run("build", *arguments, "--processes=2", env={"OMP_NUM_THREADS": "1"}, timeout=100)
    assert done.returncode == 2
    assert done.stderr.count("there is no objective 'no-such'") == 1


@pytest.mark.slow
def test_a_chain_builds_on_the_release_of_the_first(run: Run, tiny: Path, pairs: dict[str, Path], data: Path, tmp_path: Path) -> None:
    import gzip

    corpus = tmp_path / "mr.txt"
    with gzip.open(data / "raw" / "mr.txt.gz", "rt", encoding="utf-8") as handle:
        corpus.write_text("".join(line for _, line in zip(range(400), handle, strict=False)), encoding="utf-8")
    done = run(
        "build",
        *("--lang", "mr", "--recipe", "monolingual-from-multilingual", "--recipe", "sbert-nli-sts", "--base", tiny),
        *(f"--resource=corpus={corpus}", f"--resource=nli={pairs['nli']}"),
        *(f"--resource=sts={pairs['sts']}", f"--resource=sts-test={pairs['sts']}"),
        *("--set=stages.tokenizer.tokenizer={use: wordpiece, vocab_size: 2000}", "--set=stages.mlm.epochs=1", "--out=run", "--json"),
    )
    found = result(done)
    assert "sbert-nli-sts.base" in found["ran"]
    facts = json.loads((tmp_path / "run" / "release" / "provenance.json").read_text())
    assert facts["recipes"] == ["monolingual-from-multilingual", "sbert-nli-sts"]
    names = [stage["name"] for stage in facts["stages"]]
    assert names.index("mlm") < names.index("sbert-nli-sts.base") < names.index("sbert-sts")
    # The first recipe's tokenizer went through the second one's pruning untouched.
    objects = tmp_path / "store" / "objects"
    files = [objects / found["keys"][name] / "tokenizer.json" for name in ("tokenizer", "vocabulary")]
    before, after = (len(json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"]) for file in files)
    assert before == after


def test_scores_are_taken_on_text_as_the_release_reads_it(run: Run, tiny: Path, pairs: dict[str, Path], tmp_path: Path) -> None:
    """Spelt with invisible characters, a test set scores like the clean one, for the build as for its release."""
    clean, noisy = pairs["sts"], tmp_path / "noisy.tsv"
    header, *rows = clean.read_text(encoding="utf-8").splitlines()
    spelt = ["\t".join([*("\u200b".join(text) for text in row.split("\t")[:2]), row.split("\t")[2]]) for row in rows]
    noisy.write_text("\n".join([header, *spelt]) + "\n", encoding="utf-8")
    recipe = tmp_path / "score.yaml"
    recipe.write_text(
        "recipe: score\nsummary: Score a base.\nstages:\n"
        "  base:    {do: load, source: $lang.encoder, max_length: 64}\n"
        "  scores:  {do: evaluate, encoders: base, evaluators: {use: sts, data: $lang.sts}, normalizer: $lang.normalizer}\n"
        "  release: {do: export, encoder: base, scores: scores, exporters: sentence-transformers, normalizer: $lang.normalizer}\n",
        encoding="utf-8",
    )
    found = {}
    for name, file in (("clean", clean), ("noisy", noisy)):
        out = tmp_path / name
        arguments = ["--lang", "mr", "--recipe", recipe, "--base", tiny, f"--resource=sts={file}", "--out", out, "--json"]
        result(run("build", *arguments))
        found[name] = json.loads((out / "release" / "scores.json").read_text())["base"]
        scored = run("evaluate", out / "release", "--data", file, "--json")
        released = next(iter(json.loads(scored.stdout).values()))
        assert [s["value"] for s in released] == pytest.approx([s["value"] for s in found[name]], abs=1e-3)
    assert [s["value"] for s in found["noisy"]] == pytest.approx([s["value"] for s in found["clean"]], abs=1e-3)


def test_losses_and_scores_reach_tensorboard(run: Run, small: list[str], tmp_path: Path) -> None:
    """The tracker's own files hold what events.jsonl and scores.json hold."""
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed")
    result(run("build", *small, "--track", "tensorboard"))
    told = reading.EventAccumulator(str(tmp_path / "run" / "tracking" / "mr-small"))
    told.Reload()
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [(event["step"], event["loss"]) for event in events if event["event"] == "metrics" and event["stage"] == "second"]
    assert losses
    found = told.Scalars("second/loss")
    assert [pytest.approx(one.value, abs=1e-5) for one in found] == [loss for _, loss in losses]
    assert [one.step - found[0].step for one in found] == [step - losses[0][0] for step, _ in losses]
    assert found[0].step >= max(one.step for one in told.Scalars("first/loss")), "steps go on from stage to stage"
    (score,) = told.Scalars("scores/white/sts spearman")
    saved = json.loads((tmp_path / "run" / "release" / "scores.json").read_text(encoding="utf-8"))
    assert score.value == pytest.approx(saved["white"][0]["value"], abs=1e-4)


def test_a_tracker_that_is_not_there(run: Run, small: list[str]) -> None:
    done = run("build", *small, "--track", "tensorbord")
    assert done.returncode == 2
    assert "there is no tracker 'tensorbord'" in done.stderr
    assert "Did you mean 'tensorboard'?" in done.stderr
