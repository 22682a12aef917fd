"""Test rows that stand in training data: found word for word and nearly, counted, named, and left out of a second score."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from langadapt.data import seen
from langadapt.data.seen import SIMILAR, Row, SeenRow, TestTexts, row_key
from langadapt.manifests.resource import PathSource, Resource, Sources

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def seen_rows(rows: list[Row], trained: dict[str, list[str]]) -> list[SeenRow]:
    """As an evaluation searches: every data set read once."""
    texts = [text for row in rows for text in row]
    return seen.seen_rows(rows, [seen.find(texts, stream, name) for name, stream in trained.items()])


def test_case_and_signs_do_not_hide_a_row() -> None:
    (found,) = seen_rows([("A man is playing a guitar.", "He plays!")], {"pairs": ["he plays", "a MAN is playing a guitar"]})
    assert found.same
    assert [match.place for match in found.matches] == ["pairs", "pairs"]
    assert row_key(("a", "b")) == row_key(("B!", "A."))


def test_texts_of_signs_alone_are_told_apart() -> None:
    assert seen_rows([("😂😂",)], {"x": ["!!!", "?"]}) == []
    assert seen_rows([("😂😂",)], {"x": [" 😂😂"]})[0].same


def test_a_manifest_cannot_leave_rows_out() -> None:
    """It would stand outside the key: a score from the store would be another one."""
    with pytest.raises(ValueError, match="no option of a manifest"):
        Resource(name="x", format="sts", sources=Sources(path=PathSource(paths=["x"])), leave_out=frozenset({1}))


def test_one_side_of_a_pair_is_no_row() -> None:
    assert seen_rows([("one side", "the other side")], {"x": ["one side"]}) == []


def test_nearly_the_same_is_four_words_of_five() -> None:
    """Jaccard: nine words of ten are nearly the same, three of five are not."""
    text = "one two three four five six seven eight nine"
    (found,) = seen_rows([(text,)], {"x": [f"{text} ten"]})
    assert not found.same
    assert seen_rows([("one two three four",)], {"x": ["one two three five"]}) == []


def test_word_for_word_beats_nearly() -> None:
    text = "one two three four five six seven eight nine"
    (found,) = seen_rows([(text,)], {"first": [f"{text} ten"], "second": [text]})
    assert (found.same, found.matches[0].place) == (True, "second")


def test_scripts_without_spaces_are_compared_by_letters() -> None:
    text = "私は昨日の夜に東京の駅で古い友人と一緒に食事をしました"
    (found,) = seen_rows([(text,)], {"x": [text + "ね"]})
    assert not found.same


def test_no_similar_pair_is_missed() -> None:
    """Against every pair compared: texts of a few words of a small vocabulary, so that many are close to the threshold."""
    rng = random.Random(5)
    words = [f"w{i}" for i in range(14)]
    tests = list(dict.fromkeys(" ".join(rng.sample(words, rng.randint(1, 10))) for _ in range(150)))
    trained = [" ".join(rng.sample(words, rng.randint(1, 10))) for _ in range(300)]
    index = TestTexts(tests)
    index.read(trained, "x")

    def similar(one: str, other: str) -> bool:
        a, b = set(one.split()), set(other.split())
        return len(a & b) >= SIMILAR * len(a | b)

    assert set(index.found) == {i for i, text in enumerate(tests) if any(similar(text, other) for other in trained)}


RECIPE = """
recipe: seen
summary: A test of which training saw rows.
stages:
  base:    {do: load, source: $lang.encoder, pooler: mean, max_length: 64}
  pairs:   {do: pair, source: {use: sts, data: $lang.sts}}
  tuned:   {do: train, encoder: base, data: pairs, objective: cosine-sts, steps: 2, batch_size: 4}
  scores:  {do: evaluate, encoders: [base, tuned], evaluators: {use: sts, data: $lang.sts-test, samples: 100}}
  release: {do: export, encoder: tuned, scores: scores, exporters: [sentence-transformers]}
"""


@pytest.fixture
def build(tmp_path: Path, tiny: Path, pairs: dict[str, Path]) -> list[str]:
    (tmp_path / "seen.yaml").write_text(RECIPE, encoding="utf-8")
    return [
        "--lang=mr",
        f"--recipe={tmp_path / 'seen.yaml'}",
        f"--base={tiny}",
        f"--resource=sts={pairs['sts']}",
        f"--out={tmp_path / 'run'}",
    ]


def test_a_build_names_them_and_scores_without_them(run: Run, build: list[str], pairs: dict[str, Path], tmp_path: Path) -> None:
    lines = pairs["sts"].read_text(encoding="utf-8").splitlines()
    other = ["पहिले वेगळे वाक्य आहे\tदुसरे वेगळे वाक्य आहे\t1.0", "आज पाऊस पडला\tकाल ऊन होते\t2.0", "मांजर झोपली\tकुत्रा धावला\t4.0"]
    test = tmp_path / "test.tsv"
    test.write_text("\n".join([*lines[:3], *other]) + "\n", encoding="utf-8")
    done = run("build", *build, f"--resource=sts-test={test}", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "run" / "scores" / "scores" / "scores.json").read_text(encoding="utf-8"))
    counts = {name: {score["task"]: score["n"] for score in rows} for name, rows in found.items()}
    assert counts["base"] == counts["tuned"] == {"sts-test": 5, "sts-test, unseen rows": 3}
    named = json.loads((tmp_path / "run" / "scores" / "scores" / "seen.json").read_text(encoding="utf-8"))
    assert list(named) == ["tuned"]
    (entry,) = named["tuned"]
    assert (entry["rows"], entry["exact"], entry["near"], entry["where"]) == (5, 2, 0, "pairs")
    assert entry["named"][0]["row"] == lines[1].split("\t")[:2]
    told = "tuned was trained on 2 of the 5 rows of sts-test (2 word for word, 0 nearly; in pairs)"
    assert told in (tmp_path / "run" / "release" / "README.md").read_text(encoding="utf-8")
    assert "<td>pairs</td>" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_a_test_that_is_the_training_data_has_no_second_score(run: Run, build: list[str], pairs: dict[str, Path], tmp_path: Path) -> None:
    done = run("build", *build, f"--resource=sts-test={pairs['sts']}", "--json")
    assert done.returncode == 0, done.stderr
    assert "no score on the rows that training did not see" in done.stderr
    found = json.loads((tmp_path / "run" / "scores" / "scores" / "scores.json").read_text(encoding="utf-8"))
    assert {score["task"] for score in found["tuned"]} == {"sts-test"}
