"""Every test of a manifest in one table: what is missing is named, what fails stops nothing, baselines stand beside encoders."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from langadapt.errors import DataError
from langadapt.inference.baselines import Baseline, NotOffered

Run = Callable[..., "subprocess.CompletedProcess[str]"]

MANIFEST = """
language: mr
name: Marathi
scripts: [Deva]
evaluators:
- {{use: sts, data: $lang.pairs, samples: 100}}
- {{use: classification, data: $lang.moods, samples: 100}}
- {{use: tagging, data: $lang.tags, samples: 100}}
- {{use: sts, data: $lang.elsewhere}}
resources:
  pairs: {{format: sts, sources: {{path: {{paths: [{folder}/pairs.tsv]}}}}}}
  moods: {{format: classification, sources: {{path: {{paths: [{folder}/moods.tsv]}}}}}}
  tags: {{format: tags, sources: {{path: {{paths: [{folder}/tags.conll]}}}}}}
  elsewhere: {{format: sts, sources: {{path: {{paths: [{folder}/nowhere.tsv]}}}}}}
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = [f"वाक्य {i} आहे\tवाक्य {i + i % 3} होते\t{i % 6}" for i in range(30)]
    (tmp_path / "pairs.tsv").write_text("sentence1\tsentence2\tscore\n" + "\n".join(rows) + "\n", encoding="utf-8")
    moods = [f"{'छान' if i % 2 else 'वाईट'} गोष्ट {i}\t{'glad' if i % 2 else 'sad'}" for i in range(120)]
    (tmp_path / "moods.tsv").write_text("text\tlabel\n" + "\n".join(moods) + "\n", encoding="utf-8")
    words = "\n\n".join(f"राम\tPROPN\nगेला\tVERB\n{i}\tNUM" for i in range(200))
    (tmp_path / "tags.conll").write_text(words + "\n", encoding="utf-8")
    file = tmp_path / "mine.yaml"
    file.write_text(MANIFEST.format(folder=tmp_path), encoding="utf-8")
    return file


def test_all_tests_of_a_manifest(run: Run, tiny: Path, manifest: Path, tmp_path: Path) -> None:
    done = run("evaluate", "baseline:random", "baseline:char-ngrams", tiny, "--lang", manifest, "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    assert "warning: " not in done.stderr
    found = json.loads(done.stdout)
    tasks = [list(dict.fromkeys(score["task"] for score in rows)) for rows in found.values()]
    assert tasks == [["pairs", "moods probe"], ["pairs", "moods probe"], ["pairs", "moods probe", "tags"]]
    assert "Left out: " in done.stderr
    assert "nowhere.tsv" in done.stderr
    _, ngrams, ours = found.values()
    assert {score["metric"]: score["value"] for score in ngrams if score["task"] == "moods probe"}["accuracy"] == 100.0
    assert all("p" in score["difference"] for score in ours if score["task"] == "pairs")
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {
        "scores.json",
        "samples.npz",
        "drawings.json",
        "examples.json",
        "report.html",
    }


def test_a_test_that_fails_is_told_and_the_others_go_on(run: Run, tiny: Path, manifest: Path, tmp_path: Path) -> None:
    file = tmp_path / "pairs.tsv"
    file.write_text(file.read_text(encoding="utf-8").replace("\t5\n", "\tfive\n", 1), encoding="utf-8")
    done = run("evaluate", "baseline:char-ngrams", "--lang", manifest, "--json")
    assert done.returncode == 2
    assert {score["task"] for rows in json.loads(done.stdout).values() for score in rows} == {"moods probe"}
    assert "pairs.tsv:7" in done.stderr


def test_what_to_score_on_is_said_once(run: Run, tiny: Path, manifest: Path) -> None:
    for more in ([], ["--lang", manifest, "--data", "x.tsv"]):
        done = run("evaluate", tiny, *more)
        assert done.returncode == 2
        assert "say what to score on" in done.stderr
    done = run("evaluate", "baseline:rndom", "--lang", manifest)
    assert done.returncode == 2
    assert "Did you mean 'random'?" in done.stderr


def test_a_manifest_without_data_says_how_to_come_by_it(run: Run, tiny: Path) -> None:
    done = run("evaluate", tiny, "--lang", "szl")
    assert done.returncode == 2
    assert "Translate Polish" in done.stderr or "people's scores" in done.stderr


def test_baselines() -> None:
    """The same text has the same vector in any call; letters in common bring texts near; no learning, so no tokens."""
    ngrams = Baseline("char-ngrams")
    near, other = ngrams.encode(["गहू पिकला", "गहू पिकतो", "train station"])[0] @ ngrams.encode(["गहू पिकतो", "train station"]).T
    assert near > 0.3 > abs(other)
    one, again = Baseline("random").encode(["a", "b"]), Baseline("random").encode(["b", "a"])
    assert np.array_equal(one, again[::-1])
    assert np.allclose(np.linalg.norm(one, axis=1), 1)
    assert np.array_equal(ngrams.encode([""]), np.zeros((1, ngrams.width), np.float32))
    with pytest.raises(NotOffered, match="no token states"):
        ngrams.token_states([[1]])
    with pytest.raises(DataError, match="no baseline"):
        Baseline("tfidf")
