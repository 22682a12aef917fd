"""A test that cannot be scored costs its own scores: the others, the release and its page are there, and the exit code tells."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from langadapt import Encoder
from langadapt.contracts import Context, Evaluator, Score
from langadapt.errors import DataError, SourceError
from langadapt.files import read_json
from langadapt.verbs.evaluate.run import _scored

pytestmark = pytest.mark.usefixtures("one_thread")

Run = Callable[..., "subprocess.CompletedProcess[str]"]

RECIPE = """
recipe: two-tests
summary: Score a base on two tests.
stages:
  base:    {do: load, source: $lang.encoder, max_length: 32}
  scores:
    do: evaluate
    encoders: base
    evaluators: [EVALUATORS]
  release: {do: export, encoder: base, scores: scores, exporters: sentence-transformers}
"""
STS = "{use: sts, data: $lang.sts, samples: 100}"
LABELS = "{use: classification, data: $lang.classification, samples: 100}"


@pytest.fixture
def build(run: Run, tiny: Path, pairs: dict[str, Path], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Builds on real pairs and on a table of labels, whatever it holds."""

    def go(labels: str, *more: str, evaluators: str = f"{STS}, {LABELS}") -> subprocess.CompletedProcess[str]:
        (tmp_path / "labels.tsv").write_text(labels, encoding="utf-8")
        (tmp_path / "r.yaml").write_text(RECIPE.replace("EVALUATORS", evaluators), encoding="utf-8")
        resources = [f"--resource=sts={pairs['sts']}", f"--resource=classification={tmp_path / 'labels.tsv'}"]
        fixed = ("--lang", "mr", "--base", str(tiny), "--store", str(tmp_path / "store"), "--out", str(tmp_path / "run"))
        return run("build", "--recipe", str(tmp_path / "r.yaml"), *fixed, *resources, "--quiet", *more)

    return go


BAD = {
    "one label": ("text\tlabel\n" + "".join(f"text {i}\tone\n" for i in range(60)), "all rows are labelled 'one'"),
    "few": ("text\tlabel\n" + "".join(f"text {i}\t{i % 2}\n" for i in range(12)), "are too few"),
}


@pytest.mark.parametrize("name", BAD)
def test_the_others_go_on(name: str, build: Callable[..., Any], tmp_path: Path) -> None:
    labels, part = BAD[name]
    done = build(labels)
    assert done.returncode == 2, done.stderr
    release = tmp_path / "run" / "release"
    assert {score["metric"] for score in read_json(release / "scores.json")["base"]} == {"spearman", "pearson"}
    said = [line for line in (done.stdout + done.stderr).splitlines() if "has no score by classification on classification" in line]
    assert said
    assert part in said[0]
    places = (release / "README.md", tmp_path / "run" / "report.html", release / "provenance.json")
    for text in (place.read_text(encoding="utf-8") for place in places):
        assert "has no score by classification on classification" in text
    assert "has no score by sts" not in places[0].read_text(encoding="utf-8")
    assert str(tmp_path) not in places[0].read_text(encoding="utf-8")
    again = build(labels, "--json")  # all in the store, and still not to be overlooked
    assert again.returncode == 2
    assert part in json.loads(again.stdout)["unscored"][0]


def test_a_mended_test_is_scored(build: Callable[..., Any], tmp_path: Path) -> None:
    assert build(BAD["one label"][0]).returncode == 2
    done = build("text\tlabel\n" + "".join(f"text {i} {'good' if i % 2 else 'bad'}\t{i % 2}\n" for i in range(60)))
    assert done.returncode == 0, done.stderr
    assert {"macro-f1", "spearman"} <= {score["metric"] for score in read_json(tmp_path / "run" / "release" / "scores.json")["base"]}
    assert "has no score" not in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_a_file_that_is_no_table_is_refused_before_anything_runs(build: Callable[..., Any], tmp_path: Path) -> None:
    """What can be told before hours of work is told then, with file and line."""
    done = build("text\tlabel\n" + "".join(f"text {i}\t{i % 2}\n" for i in range(60)) + "alone\n")
    assert done.returncode == 2
    assert "labels.tsv:62" in done.stderr
    assert not (tmp_path / "run" / "release").exists()


def test_no_score_at_all_ends_the_build(build: Callable[..., Any], tmp_path: Path) -> None:
    done = build(BAD["one label"][0], evaluators=LABELS)
    assert done.returncode == 2
    assert "all rows are labelled 'one'" in done.stderr
    assert not (tmp_path / "run" / "release").exists()


class Away(Evaluator):
    """Its data cannot be had now."""

    name: ClassVar[str] = "away"

    def evaluate(self, encoder: Any, ctx: Context) -> list[Score]:
        raise SourceError("cannot reach the Hub")


class Broken(Away):
    """Its data is what it is."""

    name: ClassVar[str] = "broken"

    def evaluate(self, encoder: Any, ctx: Context) -> list[Score]:
        raise DataError("holds no rows", where="sets/test.tsv")


def test_what_the_network_does_is_not_kept(tiny: Path) -> None:
    """A stage with a hole that the next run could fill must not go into the store."""
    encoder, failures = Encoder.load(tiny, device="cpu"), []  # type: ignore[var-annotated]
    with pytest.raises(SourceError):
        _scored(encoder, "base", [Broken(), Away()], failures, Context())
    assert list(map(str, failures)) == ["base has no score by broken: test.tsv: holds no rows"]
