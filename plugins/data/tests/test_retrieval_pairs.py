"""Question and passage pairs of real sets: all of them, the held-out ones apart, and bad rows named."""

from __future__ import annotations

import gzip
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from langadapt_data.pairs import Retrieval

from langadapt.contracts.component import Context
from langadapt.data import retrieval
from langadapt.errors import DataError, PlanError
from langadapt.manifests.resource import PathSource, Resource, Sources
from langadapt.planning.pinning import pin_paths


def resource(*paths: Path, **options: Any) -> Resource:
    found = Resource(name="pairs", format="retrieval", sources=Sources(path=PathSource(paths=[str(p) for p in paths])), **options)
    return found.model_copy(update={"pinned": pin_paths(found, tuple(path.absolute() for path in paths), "here")})


def pairs(*paths: Path, share: float = 0.0, **options: Any) -> list[tuple[str, str]]:
    reader = Retrieval(data=resource(*paths, **options), held_out=share)
    rows = list(reader.pairs(None, Context()))
    assert all(list(row) == list(reader.columns) for row in rows)
    return [(row["anchor"], row["positive"]) for row in rows]


def jsonl(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as handle:
        return [json.loads(line) for line in handle]


@pytest.fixture(scope="module")
def medquad(data: Path) -> Path:
    return data / "medquad-en-clinical" / "train"


@pytest.fixture(scope="module")
def teleqna(data: Path) -> Path:
    return data / "teleqna-en-telecom" / "train.jsonl.gz"


def test_a_beir_folder_of_real_answers(medquad: Path) -> None:
    """Every judged pair once, query by query in the order of the judgements."""
    queries, corpus = ({row["_id"]: row["text"] for row in jsonl(medquad / f"{name}.jsonl.gz")} for name in ("queries", "corpus"))
    with gzip.open(medquad / "qrels.tsv.gz", "rt", encoding="utf-8") as handle:
        judged = [line.rstrip("\n").split("\t") for line in itertools.islice(handle, 1, None)]
    first = {query: place for place, (query, _, _) in reversed(list(enumerate(judged)))}
    judged.sort(key=lambda row: first[row[0]])
    expected = [(queries[query].strip(), corpus[passage].strip()) for query, passage, _ in judged]
    found = pairs(medquad)
    assert len(found) > 7000
    assert found == expected
    assert found == pairs(*sorted(medquad.iterdir())), "the files themselves are the folder"


def test_judgements_in_files_of_their_own(medquad: Path, tmp_path: Path) -> None:
    """BEIR's published layout has one file of judgements a split, in a folder."""
    (tmp_path / "qrels").mkdir()
    for name in ("queries.jsonl.gz", "corpus.jsonl.gz"):
        (tmp_path / name).symlink_to(medquad / name)
    with gzip.open(medquad / "qrels.tsv.gz", "rt", encoding="utf-8") as handle:
        head, *lines = handle.read().splitlines()
    for name, part in (("dev", lines[:100]), ("train", lines[100:])):
        (tmp_path / "qrels" / f"{name}.tsv").write_text("\n".join([head, *part, ""]), encoding="utf-8")
    assert sorted(pairs(tmp_path)) == sorted(pairs(medquad))


def test_a_table_of_real_questions(teleqna: Path) -> None:
    """The question's explanation is its passage; the multiple-choice answer is not."""
    rows = jsonl(teleqna)
    assert pairs(teleqna) == [(row["question"].strip(), row["explanation"].strip()) for row in rows]
    answers = {"anchor": "question", "positive": "answer"}
    assert pairs(teleqna, columns=answers)[0][1] == rows[0]["answer"]


@pytest.mark.parametrize("name", ["medquad", "teleqna"])
def test_held_out_is_about_its_share_and_stable(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """By the passage's text alone: other rows around it, another order or another file change nothing."""
    path: Path = request.getfixturevalue(name)
    everything, training = pairs(path), pairs(path, share=0.15)
    left = sorted(set(everything) - set(training))
    assert 0.11 < len(left) / len(everything) < 0.19
    assert set(pairs(path, share=0.3)) < set(training), "a larger share holds out what a smaller one does"
    shuffled = tmp_path / "half.tsv"
    half = [pair for pair in reversed(everything[::2]) if not any("\t" in text for text in pair)]
    shuffled.write_text("query\tpassage\n" + "".join(f"{a}\t{b}\n" for a, b in half), encoding="utf-8")
    assert set(pairs(shuffled, share=0.15)) == set(half) - set(left)


@pytest.mark.parametrize("name", ["medquad", "teleqna"])
def test_training_and_scoring_share_no_query_and_no_passage(name: str, request: pytest.FixtureRequest) -> None:
    """The evaluator's rule (all passages of a query held out) leaves it no query, passage or pair that training had.

    A question's words may come again: MedQuAD has the same question for answers of several sources.
    """
    path: Path = request.getfixturevalue(name)
    found = retrieval.load(resource(path), [path])
    held = {key for key, text in found.passages.items() if retrieval.held_out(text, 0.15)}
    scored = {query for query, good in found.relevant.items() if held.issuperset(good)}
    trained = {query for query, good in found.relevant.items() if not held.issuperset(good)}
    training = pairs(path, share=0.15)
    assert scored
    assert trained
    assert sum(len(set(found.relevant[query]) - held) for query in trained) == len(training)
    assert not {found.passages[key] for key in held} & {passage for _, passage in training}
    assert not {(found.queries[q], found.passages[p]) for q in scored for p in found.relevant[q]} & set(training)


def test_a_passage_that_two_questions_share(tmp_path: Path) -> None:
    """Both questions of a held-out passage are held out; a question of two passages keeps the other one."""
    path = tmp_path / "pairs.tsv"
    texts = [f"passage {i}" for i in range(40)]
    out = next(text for text in texts if retrieval.held_out(text, 0.2))
    kept = next(text for text in texts if not retrieval.held_out(text, 0.2))
    path.write_text(f"query\tdocument\nq1\t{out}\nq2\t{out}\nq3\t{kept}\nq1\t{kept}\n", encoding="utf-8")
    assert pairs(path, share=0.2) == [("q3", kept), ("q1", kept)]
    assert len(retrieval.load(resource(path), [path]).passages) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "query\tdocument\na\tb\nc\n", "a.tsv:3: 1 fields where the header has 2 (query, document)"),
        ("a.tsv", "query\tdocument\na\t \n", "a.tsv:2: column 'document' is empty"),
        ("a.tsv", "query\ttext\na\tb\n", "a.tsv:1: no column 'positive' (there are: query, text)"),
        ("a.csv", 'question,answer\n"a\nb",c\n"d",\n', "a.csv:4: column 'answer' is empty"),
        ("a.jsonl", '{"question": "a", "answer": "b"}\n["a", "b"]\n', "a.jsonl:2: not a JSON object"),
        (
            "a.jsonl",
            '{"question": "a", "answer": "b"}\n{"question": "a", "answer": 5}\n',
            "a.jsonl:2: column 'answer' holds 5, no text",
        ),
        ("a.jsonl", '{"question": "a", "answer": "b"}\n{"question": "a"\n', "a.jsonl:2: not JSON"),
        ("a.tsv", b"query\tdocument\na\tcaf\xe9\n", "a.tsv:2: byte 0xe9 at column 6 is not valid UTF-8"),
        ("a.tsv", "query\tdocument\n", "there is no query with a passage"),
        ("a.md", "query\tdocument\na\tb\n", "unknown table format '.md'"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        pairs(path)
    assert str(path) in str(caught.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="there is no file or folder"):
        pairs(tmp_path / "absent.tsv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="there is no query with a passage"):
        pairs(tmp_path / "empty")
