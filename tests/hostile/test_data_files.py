"""Data as it is published is read; what is malformed is refused by file and line, in little time and memory."""

from __future__ import annotations

import gzip
import json
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from files import gzip_of_one_line, text_damage  # type: ignore[import-not-found]

from langadapt.contracts.component import Context, SilentLog
from langadapt.data import labelled, pairs, retrieval, tables, tagged
from langadapt.data.fetch import fetch
from langadapt.errors import DataError
from langadapt.manifests.resource import PathSource, Resource, Sources
from langadapt.planning.pinning import pin_paths


class Hear(SilentLog):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, message: str) -> None:
        self.warnings.append(message)


def resource(path: Path, form: str, **changes: Any) -> Resource:
    data = Resource(name="mine", format=form, sources=Sources(path=PathSource(paths=[str(path)])), **changes)  # type: ignore[arg-type]
    return data.model_copy(update={"pinned": pin_paths(data, (path,), "here")})


def nli(path: Path, log: Hear | None = None, **changes: Any) -> list[dict[str, Any]]:
    return list(pairs.nli_rows(resource(path, "nli", **changes), Context(log=log or Hear())))


def sts(path: Path, log: Hear | None = None, **changes: Any) -> list[dict[str, Any]]:
    return list(pairs.sts_rows(resource(path, "sts", **changes), Context(log=log or Hear())))


NLI = (
    "premise\thypothesis\tlabel\na man sleeps\ta man rests\tentailment\n"
    "a man sleeps\the runs\tcontradiction\nit rains\tit is cold\tneutral\n"
)


# published layouts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", NLI.encode()),
        ("bom.tsv", b"\xef\xbb\xbf" + NLI.encode()),
        ("excel.txt", NLI.replace("\n", "\r\n").encode("utf-16")),
        ("big-endian.tsv", b"\xfe\xff" + NLI.encode("utf-16-be")),
        ("a.csv", NLI.replace("\t", ",").encode()),
        ("europe.csv", NLI.replace("\t", ";").encode()),
        ("packed.tsv.gz", gzip.compress(NLI.encode(), mtime=0)),
        ("snli.tsv", NLI.replace("premise\thypothesis\tlabel", "sentence1\tsentence2\tgold_label").encode()),
        ("sick.tsv", NLI.replace("premise\thypothesis\tlabel", "sentence_A\tsentence_B\tentailment_label").encode()),
        ("upper.tsv", NLI.replace("entailment", "ENTAILMENT").encode()),
    ],
)
def test_pairs_as_people_have_them(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert [(row["premise"], row["hypothesis"], row["label"]) for row in nli(path)] == [
        ("a man sleeps", "a man rests", "entailment"),
        ("a man sleeps", "he runs", "contradiction"),
        ("it rains", "it is cold", "neutral"),
    ]


def test_unlabelled_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    path, heard = tmp_path / "snli.jsonl", Hear()
    rows = [("entailment", 0), ("-", 1), ("contradiction", 2), (-1, 3), (None, 4), ("", 5)]
    path.write_text("".join(json.dumps({"gold_label": a, "sentence1": f"p{i}", "sentence2": "h"}) + "\n" for a, i in rows))
    assert [row["premise"] for row in nli(path, heard)] == ["p0", "p2"]
    assert "mine: 4 unlabelled rows are left out" in heard.warnings


def test_labels_are_ours_or_refused_when_the_manifest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(NLI.replace("neutral", "2"))
    assert len(nli(path, labels={"2": "drop"})) == 2
    with pytest.raises(ValueError, match="'unlike' is no label; known: entailment, neutral, contradiction, drop"):
        nli(path, labels={"2": "unlike"})
    with pytest.raises(DataError, match=r"a\.tsv:4: unknown label '2'.*lang\.resources\.mine\.labels="):
        nli(path)


def test_stsb_as_it_is_published_has_no_header(tmp_path: Path) -> None:
    path = tmp_path / "sts-dev.tsv"
    path.write_text('main-captions\tMSRvid\t2012\t0001\t5.000\tA "man is.\tA man.\nmain-captions\tMSRvid\t2012\t0002\t1.25\tB\tC\n')
    found = sts(path, columns={"score": "5", "sentence1": "6", "sentence2": "7"})
    assert found == [{"sentence1": 'A "man is.', "sentence2": "A man.", "score": 1.0}, {"sentence1": "B", "sentence2": "C", "score": 0.25}]


def test_all_missing_columns_are_named_with_the_option_of_the_command(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("a\tb\nx\ty\n")
    with pytest.raises(DataError) as caught:
        sts(path)
    assert str(caught.value).startswith(f"{path}:1: no columns 'sentence1', 'sentence2', 'score' (there are: a, b)")
    assert "--set lang.resources.mine.columns='{sentence1: NAME, sentence2: NAME, score: NAME}'" in str(caught.value)
    with pytest.raises(DataError, match="--column sentence1=NAME --column sentence2=NAME --column score=NAME"):
        sts(path, asked="evaluate")
    with pytest.raises(DataError, match=r"--set domain\.resources\.mine\.columns="):
        sts(path, asked="domain.resources")


def test_null_cells_are_named_and_can_be_left_out(tmp_path: Path) -> None:
    path, heard = tmp_path / "a.jsonl", Hear()
    rows = [{"sentence1": "a", "sentence2": "b", "score": 1}, {"sentence1": None, "sentence2": "b", "score": 1}]
    rows += [{"sentence1": "a", "sentence2": "b", "score": None}, {"sentence1": "a", "sentence2": " ", "score": 2}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=r"a\.jsonl:2: column 'sentence1' is null.*incomplete='drop'"):
        sts(path)
    assert len(sts(path, heard, incomplete="drop")) == 1
    assert heard.warnings == ["mine: 3 incomplete rows are left out"]


def test_an_open_quote_swallows_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('sentence1,sentence2,score\n"open,b,1\nc,d,2\n"e,f,3\n')
    with pytest.raises(DataError, match=r"a\.csv:2: not CSV: .*one may be open"):
        sts(path)
    path.write_text('sentence1,sentence2,score\n"two\nlines","a ""quoted"" word",1\nc,d,2\n')
    assert [row["sentence1"] for row in sts(path)] == ["two\nlines", "c"]
    assert sts(path)[0]["sentence2"] == 'a "quoted" word'


def test_scores_of_another_range_are_noticed(tmp_path: Path) -> None:
    path, heard = tmp_path / "a.tsv", Hear()
    path.write_text("sentence1\tsentence2\tscore\n" + "".join(f"a{i}\tb\t{i / 40}\n" for i in range(40)))
    sts(path, heard)
    assert "the highest of 40 scores is 0.975, and the range is 0 to 5" in heard.warnings[0]
    assert "score_range='[0, 1]'" in heard.warnings[0]
    sts(path, quiet := Hear(), score_range=(0, 1))
    assert not quiet.warnings


def test_a_figure_that_is_no_number_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    for word in ("nan", "inf", "n/a", "1e999", "9" * 400):
        path.write_text(f"sentence1\tsentence2\tscore\na\tb\t1\nc\td\t{word}\n")
        with pytest.raises(DataError, match=r"a\.tsv:3: score"):
            sts(path)


def beir(folder: Path) -> Path:
    folder.mkdir()
    passages = [("d1", "Wheat", "is dear"), ("d2", "", "it rains"), ("d3", "", ""), ("q1", "", "why is wheat dear")]
    lines = [json.dumps({"_id": a, "title": b, "text": c, "metadata": {}}) for a, b, c in passages]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "why is wheat dear"}\n{"_id": "q2", "text": "rain"}\n')
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t-1\nq2\td2\t1\nq2\td1\t0\n")
    return folder


def test_beir_with_negative_grades_empty_passages_and_queries_among_them(tmp_path: Path) -> None:
    folder = beir(tmp_path / "set")
    data = resource(folder, "retrieval")
    found = retrieval.load(data, fetch(data, Context()))
    assert found.relevant == {"q1": {"d1": 2.0}, "q2": {"d2": 1.0}}
    assert found.passages == {"d1": "Wheat is dear", "d2": "it rains", "d3": "", "q1": "why is wheat dear"}
    (folder / "qrels" / "test.tsv").write_text("q1 0 d1 1\nq2 0 d2 1\nq2 0 d1 -2\n")  # TREC's own layout
    data = resource(folder, "retrieval")
    assert retrieval.load(data, fetch(data, Context())).relevant == {"q1": {"d1": 1.0}, "q2": {"d2": 1.0}}


def test_a_query_does_not_find_itself(tmp_path: Path) -> None:
    """As BEIR scores: the passage of a query's own id is not searched, or nothing would ever stand first."""
    from langadapt_evaluators.retrieval import Retrieval

    class Letters:
        """Vectors by letters: a text is most like itself."""

        gives = "dense"

        def role(self, name: str) -> None:
            return None

        def encode(self, texts: list[str], **_: Any) -> Any:
            import numpy as np

            found = np.array([[text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz "] for text in texts], dtype=np.float32)
            return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)

    data = resource(beir(tmp_path / "set"), "retrieval")
    scores = Retrieval(data=data).evaluate(Letters(), Context())  # type: ignore[arg-type]
    assert next(score.value for score in scores if score.metric == "accuracy@1") == 100


CONLL = {
    "tab": "A\tO\nman\tB-PER\n\nsleeps\tO\n",
    "spaces": "A O\nman B-PER\n\nsleeps O\n",
    "four columns": "-DOCSTART- -X- -X- O\n\nA DT B-NP O\nman NN I-NP B-PER\n\nsleeps VB B-VP O\n",
    "header and numbers": "words\tlabels\tsentence_id\nA\tO\t0.0\nman\tB-PER\t0.0\nsleeps\tO\t1.0\n",
    "conll-u": "# text = A man\n1-2\tAman\t_\t_\t_\t_\t_\t_\t_\t_\n1\tA\ta\tO\t_\t_\t_\t_\t_\t_\n2\tman\tman\tB-PER\t_\t_\t_\t_\t_\t_\n\n"
    "1\tsleeps\tsleep\tO\t_\t_\t_\t_\t_\t_\n",
}


@pytest.mark.parametrize("layout", CONLL)
def test_tagged_words_in_the_layouts_of_the_field(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "a.conll"
    path.write_text(CONLL[layout])
    assert tagged.read(path) == [[("A", "O"), ("man", "B-PER")], [("sleeps", "O")]]


def test_a_third_column_is_not_taken_for_tags(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("A\tO\t0.0\nman\tB-PER\t0.0\n")
    with pytest.raises(DataError, match=r"a\.tsv:1: 3 columns where 'word<tab>tag' is meant"):
        tagged.read(path)
    data = resource(path, "tags", columns={"word": "1", "tag": "2", "sentence": "3"}, asked="evaluate")
    assert tagged.read(path, data) == [[("A", "O"), ("man", "B-PER")]]


def test_a_hash_that_is_a_word_is_no_comment(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("# sent 1\nA\tO\n#\tO\n\n# sent 2\nman\tB-PER\n")
    assert tagged.read(path) == [[("A", "O"), ("#", "O")], [("man", "B-PER")]]


# malformed -------------------------------------------------------------------------------------------------------------


def test_half_a_surrogate_pair_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "good"}\n{"text": "cut \\ud83d"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:2: column 'text' holds half of a surrogate pair"):
        list(tables.rows(path))
    path.write_text('{"text": "whole \\ud83d\\ude00"}\n')
    assert next(tables.rows(path))[1] == {"text": "whole 😀"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "nested too deeply"),
        ("a.jsonl", b"[1]\n", "not a JSON object"),
        ("a.tsv", b"a\tb\nc\0d\te\n", "a.tsv:2: a NUL character at column 2"),
        ("a.tsv", b"a\ta\nc\td\n", "the column 'a' stands twice in the header"),
        ("a.tsv", "a\tb\n".encode("utf-16-le"), "a NUL character"),
        ("a.tsv", b"a\tb\nc\xff\td\n", "a.tsv:2: byte 0xff at column 2 is not valid UTF-8"),
        ("a.tsv.gz", gzip.compress(b"a\tb\n" * 1000, mtime=0)[:-20], "gzip file is broken"),
        (
            "a.tsv.gz",
            gzip.compress(b"a\tb\n" * 1000, mtime=0)[:30] + b"xxxxxxxx" + gzip.compress(b"a\tb\n" * 1000, mtime=0)[38:],
            "gzip file is broken",
        ),
        ("a.parquet", b"PAR1 no", "cannot be read as Parquet"),
        ("a.xlsx", b"PK", "unknown table format '.xlsx'"),
        ("a.txt", b"no tab here\n", "a table is needed"),
    ],
)
def test_malformed_tables_are_refused_with_their_place(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(tables.rows(path))
    assert message in str(caught.value)


def test_a_damaged_parquet_page_is_the_files_fault(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": [f"text {i}" for i in range(5000)]}), path)
    content = bytearray(path.read_bytes())
    content[200:1200] = os.urandom(1000)
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        list(tables.rows(path))


def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tsv")
    for path in (tmp_path / "pipe.tsv", Path("/dev/zero")):
        with pytest.raises(DataError, match="is no regular file"):
            list(tables.lines(path))
        with pytest.raises(DataError, match="is no regular file"):
            resource(path, "nli")


def test_a_gzip_bomb_is_refused_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tsv.gz"
    gzip_of_one_line(path, 300_000_000)
    tracemalloc.start()
    start = time.monotonic()
    with pytest.raises(DataError, match=r"bomb\.tsv\.gz:2: a line of over 1,000,000 characters"):
        list(tables.rows(path))
    assert time.monotonic() - start < 10
    assert tracemalloc.get_traced_memory()[1] < 60_000_000
    tracemalloc.stop()


READERS: dict[str, tuple[str, bytes, Callable[[Resource], Any]]] = {
    "nli": ("a.tsv", NLI.encode(), lambda data: list(pairs.nli_rows(data, Context(log=Hear())))),
    "sts": ("a.csv", b'sentence1,sentence2,score\n"a, b",c,1\nd,"e ""f""",2.5\n', lambda data: list(pairs.sts_rows(data, Context()))),
    "classification": (
        "a.jsonl",
        b'{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n',
        lambda data: labelled.read(data, Context()),
    ),
    "tags": ("a.conll", CONLL["tab"].encode(), lambda data: tagged.read(data.pinned.paths[0], data)),
    "retrieval": ("a.tsv", b"question\tanswer\nwhy\tso\nhow\tthus\n", lambda data: retrieval.load(data, fetch(data, Context()))),
}


def damaged(tmp_path: Path, form: str, seed: int, count: int) -> Iterator[str]:
    """Outcomes of reading damaged files: rows, or a refusal that names the file."""
    name, content, read = READERS[form]
    for kind, changed in text_damage(content, seed, count):
        path = tmp_path / name
        path.write_bytes(changed)
        try:
            read(resource(path, form))
        except DataError as error:
            told = str(error)
            yield "refused" if (str(path) in told or "mine" in told) and len(told) < 4000 else f"{kind}: {told}"
        else:
            yield "read"


@pytest.mark.parametrize("form", READERS)
def test_damaged_files_are_read_or_refused(tmp_path: Path, form: str) -> None:
    outcomes = list(damaged(tmp_path, form, 1, 60))
    assert {"refused", "read"} == set(outcomes)


@pytest.mark.hostile
@pytest.mark.parametrize("form", READERS)
def test_many_damaged_files_are_read_or_refused(tmp_path: Path, form: str) -> None:
    assert len(list(damaged(tmp_path, form, 2, 3000))) == 3000
