"""Commands that look and tell: doctor, completion, show, check; each through the real command."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_doctor_tells_machine_packages_and_needs(run: Run, tmp_path: Path) -> None:
    done = run("doctor", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["packages"]["torch"]
    assert set(facts["plugins"].values()) == {"ok"}
    assert all("GB of memory" in need for need in facts["a build needs"].values())
    assert "apertium" in facts["translation"]
    bare = run("doctor", env={"PATH": "/nowhere"})
    assert "apt-get install apertium" in bare.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, run: Run) -> None:
    done = run("completion", shell)
    assert done.returncode == 0, done.stderr
    assert "_LANGADAPT_COMPLETE" in done.stdout


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("langadapt bu", "build"),
        ("langadapt build --lang m", "mr"),
        ("langadapt build --recipe sbert", "sbert-nli-sts"),
        ("langadapt build --translator ape", "apertium"),
        ("langadapt list recip", "recipes"),
        ("langadapt show lang", "language"),
        ("langadapt show objective multiple", "multiple-negatives"),
    ],
)
def test_completion_knows_names(words: str, wanted: str, run: Run) -> None:
    environment = {"_LANGADAPT_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = run(env=environment)
    assert wanted in [line.partition(",")[2] for line in done.stdout.splitlines()], done.stdout + done.stderr


SHOWN = [("language", "mr", "Marathi"), ("objective", "mlm", "rate"), ("recipe", "tokens", "stages")]


@pytest.mark.parametrize(("sort", "name", "told"), SHOWN)
def test_show(sort: str, name: str, told: str, run: Run) -> None:
    assert told in run("show", sort, name).stdout
    assert json.loads(run("show", sort, name, "--json").stdout)
    wrong = run("show", sort, f"{name}x")
    assert wrong.returncode == 2
    assert "Did you mean" in wrong.stderr


@pytest.mark.adapters
def test_check_finds_what_is_wrong_inside_stages(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(
        "recipe: bad\nsummary: Wrong in four places.\nstages:\n"
        "  base: {do: lod, source: $lang.encoder}\n"
        "  data: {do: pair, source: {use: nli, dat: $lang.nli}}\n"
        "  tuned: {do: train, encoder: base, data: data, objectiv: mlm, objective: {use: mlm, rate: 3}}\n",
        encoding="utf-8",
    )
    done = run("check", "bad.yaml")
    assert done.returncode == 2
    for told in ("bad.yaml:4", "Did you mean 'load'?", "has no option 'dat'", "Did you mean 'objective'?", "'rate' is"):
        assert told in done.stderr, done.stderr
    found = json.loads(run("check", "bad.yaml", "--json").stdout)
    assert len(found["problems"]) == 4
    whole = run("check", "--json")
    assert whole.returncode == 0
    assert json.loads(whole.stdout)["problems"] == []
