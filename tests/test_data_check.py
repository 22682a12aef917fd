"""Data is looked at before anything trains."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def given(tiny: Path, pairs: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    test = tmp_path / "test.tsv"
    test.write_text("sentence1\tsentence2\tscore\nनदी वाहते.\tपाणी वाहते.\t4\nसूर्य उगवला.\tरात्र झाली.\t0.5\nतो हसला.\tतो रडला.\t1\n")
    return {**pairs, "sts-test": test, "base": tiny}


def arguments(given: dict[str, Path]) -> list[str]:
    files = [f"--resource={name}={given[name]}" for name in ("nli", "sts", "sts-test")]
    return ["--lang=mr", "--recipe=sbert-nli-sts", f"--base={given['base']}", *files]


def test_a_malformed_test_file_is_found_before_anything_trains(run: Run, given: dict[str, Path], tmp_path: Path) -> None:
    given["sts-test"].write_text(given["sts-test"].read_text() + "अ\tब\tn/a\n")
    planned = run("plan", *arguments(given), "--check-data")
    assert planned.returncode == 2
    assert "test.tsv:5: resource 'sts-test' of stage 'scores': score 'n/a' is not a number" in planned.stderr
    assert run("plan", *arguments(given)).returncode == 0  # a plan alone reads no rows
    built = run("build", *arguments(given), "--out=out")
    assert built.returncode == 2
    assert "test.tsv:5" in built.stderr
    events = (tmp_path / "out" / "events.jsonl").read_text(encoding="utf-8")
    assert "stage_start" not in events


def test_all_that_is_wrong_is_said_together(run: Run, given: dict[str, Path]) -> None:
    given["nli"].write_text("premise\thypothesis\tlabel\na\tb\tentailmint\n")
    given["sts"].write_text("sentence1,sentence2,score\n")
    done = run("plan", *arguments(given), "--check-data")
    assert done.returncode == 2
    assert "nli.tsv:2" in done.stderr
    assert "sts.tsv" in done.stderr


def test_a_test_that_stands_in_the_training_data_is_said(run: Run, given: dict[str, Path]) -> None:
    train = given["sts"].read_text().splitlines()
    leaked = train[1].split("\t")
    given["sts-test"].write_text(given["sts-test"].read_text() + "\t".join([leaked[1].rstrip("."), leaked[0], leaked[2]]) + "\n")
    done = run("plan", *arguments(given), "--check-data")
    assert done.returncode == 0, done.stderr
    assert "1 of 4 rows of the test 'sts-test' also stand in the training data 'sts'" in done.stderr
    assert "measure memory" not in done.stderr
    given["sts-test"].write_text(given["sts"].read_text())
    done = run("plan", *arguments(given), "--check-data")
    assert "8 of 8 rows of the test 'sts-test' also stand in the training data 'sts'; its scores measure memory" in done.stderr


def test_another_script_and_another_range_are_said(run: Run, given: dict[str, Path]) -> None:
    rows = "".join(f"a man is playing a guitar {i}\tsomebody plays {i}\t{i / 30:.2f}\n" for i in range(30))
    given["sts"].write_text(f"sentence1\tsentence2\tscore\n{rows}")
    done = run("plan", *arguments(given), "--check-data")
    assert done.returncode == 0, done.stderr
    assert "sts: 0% of the letters are in the language's script (Deva)" in done.stderr
    assert "the highest of 30 scores is 0.97, and the range is 0 to 5" in done.stderr
    assert "--set lang.resources.sts.score_range='[0, 1]'" in done.stderr


def test_sound_data_is_not_talked_about(run: Run, given: dict[str, Path]) -> None:
    done = run("plan", *arguments(given), "--check-data", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout)["stages"]
