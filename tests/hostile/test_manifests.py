"""Manifests of any content: a plan, or one clear paragraph, in bounded time; names lead nowhere; observers cannot end a build."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from files import text_damage  # type: ignore[import-not-found]
from small_build import RECIPE, Small  # type: ignore[import-not-found]

from langadapt.contracts.plan import Request
from langadapt.errors import LONGEST, LangadaptError
from langadapt.manifests import yaml
from langadapt.planning.compile import compile_plan
from langadapt.registry.catalog import Catalog
from langadapt.registry.registry import Registry

Run = Callable[..., "subprocess.CompletedProcess[str]"]

LANGUAGE = """
language: xx
name: Mine
scripts: [Latn]
evaluators: [{use: sts, data: $lang.sts-test}]
resources:
  encoder: {format: encoder, sources: {path: {paths: [base]}}}
  sts: {format: sts, score_range: [0, 5], sources: {path: {paths: [sts.tsv]}}}
  sts-test: {format: sts, score_range: [0, 5], sources: {path: {paths: [test.tsv]}}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("manifests")
    Small.make(root)
    return root


def planned(place: Path, language: bytes, recipe: bytes, registry: Registry, catalog: Catalog) -> str:
    """``plan`` or ``refused``: nothing else, and not for long."""
    (place / "xx.yaml").write_bytes(language)
    (place / "r.yaml").write_bytes(recipe)
    start, before = time.monotonic(), Path.cwd()
    os.chdir(place)
    try:
        compile_plan(Request(recipes=(str(place / "r.yaml"),), lang=str(place / "xx.yaml")), registry, catalog)
    except LangadaptError as error:
        return "refused" if len(str(error)) < 20 * LONGEST else "long"
    finally:
        os.chdir(before)
        assert time.monotonic() - start < 10
    return "plan"


def damaged(place: Path, registry: Registry, catalog: Catalog, seed: int, count: int) -> Iterator[str]:
    for _, content in text_damage(LANGUAGE.encode(), seed, count):
        yield planned(place, content, RECIPE.encode(), registry, catalog)
    for _, content in text_damage(RECIPE.encode(), seed + 1, count):
        yield planned(place, LANGUAGE.encode(), content, registry, catalog)


def test_damaged_manifests_are_plans_or_refused(place: Path, registry: Registry, catalog: Catalog) -> None:
    assert planned(place, LANGUAGE.encode(), RECIPE.encode(), registry, catalog) == "plan"
    assert set(damaged(place, registry, catalog, 1, 60)) == {"plan", "refused"}


@pytest.mark.hostile
def test_many_damaged_manifests_are_plans_or_refused(place: Path, registry: Registry, catalog: Catalog) -> None:
    outcomes = list(damaged(place, registry, catalog, 10, 1500))
    assert len(outcomes) == 3000
    assert set(outcomes) == {"plan", "refused"}


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "\n".join(lines) + "\n"


WRONG: dict[str, tuple[str, str]] = {
    "a bomb of aliases": (bomb(9), "more than 100,000 values once its aliases are written out"),
    "an alias of itself": ("language: xx\nname: &n [*n]\n", "alias"),
    "a value of ten megabytes": (f"language: xx\nname: {'x' * 10_000_000}\n", "a manifest at most 4,000,000"),
    "a long value that is wrong": (LANGUAGE.replace("language: xx", f"language: {'Z' * 100_000}"), "at most 60 characters"),
    "a language that is no code": (LANGUAGE.replace("language: xx", "language: basque"), "'basque': is no language code such as mr"),
    "scripts that are a word": (LANGUAGE.replace("[Latn]", "Latin"), "a list is meant"),
    "a script that is none": (LANGUAGE.replace("[Latn]", "[latin]"), "'latin': is no script code such as Deva"),
    "a reference to itself": (LANGUAGE.replace("[{use: sts, data: $lang.sts-test}]", "[$lang.evaluators]"), "refers to itself"),
    "a name that leads elsewhere": (LANGUAGE.replace("  sts:", '  "a/../../ESCAPED":'), "is no name of letters, digits"),
    "labels that are none": (
        LANGUAGE.replace("  sts:", "  nli: {format: nli, labels: {'1': same}, sources: {path: {paths: [x]}}}\n  sts:"),
        "'same' is no label",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_said_in_a_paragraph(place: Path, kind: str, registry: Registry, catalog: Catalog) -> None:
    content, message = WRONG[kind]
    (place / "wrong.yaml").write_text(content, encoding="utf-8")
    start = time.monotonic()
    recipe = RECIPE.replace("{use: sts, data: $lang.sts-test}", "$lang.evaluators")
    (place / "r.yaml").write_text(recipe, encoding="utf-8")
    with pytest.raises(LangadaptError) as caught:
        compile_plan(Request(recipes=(str(place / "r.yaml"),), lang=str(place / "wrong.yaml")), registry, catalog)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 5000
    assert time.monotonic() - start < 5


def test_a_pipe_is_no_manifest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    with pytest.raises(LangadaptError, match="is no regular file"):
        yaml.load(tmp_path / "a.yaml")


OBSERVER = """
from langadapt import hookimpl

@hookimpl
def langadapt_stage_start(stage):
    print("noise on standard output")
    raise SystemExit(9)

@hookimpl
def langadapt_log(stage, step, metrics):
    raise SystemExit(9)
"""


def test_an_observer_can_neither_end_a_build_nor_spoil_its_answer(run: Run, tmp_path: Path) -> None:
    Small.make(tmp_path)
    (tmp_path / "observer.py").write_text(OBSERVER, encoding="utf-8")
    request = ["--recipe=small.yaml", "--lang=en", "--base=base", "--resource=sts=sts.tsv", "--resource=sts-test=test.tsv", "--out=run"]
    done = run("--plugin", "observer", "build", *request, "--device=cpu", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ran"] == ["base", "pairs", "tuned", "scores", "release"]
    assert "plugin 'observer' raised in langadapt_stage_start: SystemExit: 9" in done.stderr


def test_an_observer_that_exits_before_the_build_is_an_error_of_its_own(run: Run, tmp_path: Path) -> None:
    Small.make(tmp_path)
    code = "from langadapt import hookimpl\n\n@hookimpl\ndef langadapt_plan_ready(plan):\n    raise SystemExit(4)\n"
    (tmp_path / "leaver.py").write_text(code, encoding="utf-8")
    request = ["--recipe=small.yaml", "--lang=en", "--base=base", "--resource=sts=sts.tsv", "--resource=sts-test=test.tsv"]
    done = run("--plugin", "leaver", "build", *request, "--device=cpu")
    assert done.returncode == 2
    assert "plugin 'leaver' raised in langadapt_plan_ready: SystemExit: 4" in done.stderr


@pytest.mark.slow
def test_sigterm_says_a_word_and_the_next_run_goes_on(tmp_path: Path) -> None:
    Small.make(tmp_path)
    recipe = (tmp_path / "small.yaml").read_text(encoding="utf-8").replace("steps: 2", "steps: 4000")
    (tmp_path / "small.yaml").write_text(recipe, encoding="utf-8")
    request = ["--recipe=small.yaml", "--lang=en", "--base=base", "--resource=sts=sts.tsv", "--resource=sts-test=test.tsv", "--out=run"]
    environment = {**os.environ, "LANGADAPT_STORE": str(tmp_path / "store"), "OMP_NUM_THREADS": "1", "LANGADAPT_CHECKPOINT_SECONDS": "0.2"}
    command = [sys.executable, "-m", "langadapt", "build", *request, "--device=cpu"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    events = tmp_path / "run" / "events.jsonl"
    end = time.monotonic() + 90
    while time.monotonic() < end and not (events.is_file() and '"metrics"' in events.read_text(encoding="utf-8")):
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert "Stopped. Run the same command again to go on." in errors
    assert '"outcome": "stopped"' in events.read_text(encoding="utf-8")


def test_a_file_name_that_is_no_utf8_can_be_named_in_an_error(run: Run, tmp_path: Path) -> None:
    Small.make(tmp_path)
    name = os.fsdecode(b"sts-\xff.tsv")
    (tmp_path / name).write_text("sentence1\tsentence2\tscore\na\tb\tn/a\nc\td\t1\n", encoding="utf-8")
    request = ["--recipe=small.yaml", "--lang=en", "--base=base", f"--resource=sts={name}", "--resource=sts-test=test.tsv", "--out=run"]
    done = subprocess.run(
        [sys.executable, "-m", "langadapt", "build", *request, "--device=cpu"],
        cwd=tmp_path,
        env={**os.environ, "LANGADAPT_STORE": str(tmp_path / "store")},
        capture_output=True,
    )
    assert done.returncode == 2, done.stderr
    assert b"score 'n/a' is not a number" in done.stderr
    assert b"Traceback" not in done.stderr
