"""Queries, passages and which belong together: BEIR folders, and tables of question and answer.

A share of the passages can be held out by their content: training leaves them and their queries alone, an evaluator scores on them
alone.  Both sides call :func:`held_out`, so no list of rows has to travel.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langadapt.contracts.component import Log, SilentLog
from langadapt.data import tables
from langadapt.data.resource_rows import ResourceRows
from langadapt.data.text_lines import lines
from langadapt.errors import DataError
from langadapt.manifests.resource import Resource


@dataclass
class Retrieval:
    """Texts by id, and the passages that answer each query with their grade."""

    queries: dict[str, str] = field(default_factory=dict)
    passages: dict[str, str] = field(default_factory=dict)
    relevant: dict[str, dict[str, float]] = field(default_factory=dict)


def held_out(passage: str, share: float) -> bool:
    """True for about `share` of all passages, by their text alone: the same ones everywhere."""
    return int.from_bytes(hashlib.sha256(passage.encode()).digest()[:8], "big") < share * 2**64


def load(data: Resource, paths: list[Path], log: Log | None = None) -> Retrieval:
    """Read a BEIR folder or tables with a question and a passage.

    A BEIR folder has ``corpus.jsonl``, ``queries.jsonl`` and ``qrels.tsv`` (or a folder ``qrels/`` of such files), gzipped or not.

    Raises:
        DataError: a part of a BEIR set is missing, a judgement names an unknown id, a column is missing, nothing is there.
    """
    files = [file for path in paths for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    named = {file.name.split(".")[0]: file for file in files}
    found = _beir(named, paths) if {"corpus", "queries"} & set(named) else _tables(data, files, log or SilentLog())
    if not found.relevant:
        raise DataError("there is no query with a passage", where=", ".join(map(str, paths)))
    return found


def _beir(named: dict[str, Path], paths: list[Path]) -> Retrieval:
    missing = [name for name in ("corpus", "queries", "qrels") if name not in named]
    if missing:
        raise DataError(
            f"there is no {' and no '.join(missing)}",
            where=", ".join(map(str, paths)),
            hint="A retrieval set is corpus.jsonl, queries.jsonl and qrels.tsv in one folder.",
        )
    found = Retrieval(dict(_texts(named["queries"])), dict(_texts(named["corpus"])))
    for file in sorted(named["qrels"].iterdir()) if named["qrels"].is_dir() else [named["qrels"]]:
        for where, query, passage, given in _judgements(file):
            grade = tables.number(given, -100, 100, "grade", where)
            for one, known, what in ((query, found.queries, "query"), (passage, found.passages, "passage")):
                if one not in known:
                    raise DataError(f"the {what} '{one[:80]}' is judged but not there", where=where, hint="Take the judgement out.")
            if grade > 0:  # 0 and below: judged, and found not to answer
                found.relevant.setdefault(query, {})[passage] = grade
    return found


QRELS = (("query-id", "corpus-id", "score"), ("query_id", "corpus_id", "score"), ("qid", "docid", "relevance"))


def _judgements(path: Path) -> Iterator[tuple[str, str, str, Any]]:
    """(``file:line``, query, passage, grade) of a file of judgements: BEIR's with a header, or TREC's four columns without one."""
    first = next(lines(path), (1, ""))[1]
    if tables.suffix(path) in (".tsv", ".txt", "") and re.fullmatch(r"\S+\s+\S+\s+\S+\s+-?\d+", first.strip()):
        for number, text in lines(path):
            fields = text.split()
            if fields:
                if len(fields) != 4:
                    raise DataError(f"{len(fields)} fields where TREC's judgements have four", where=f"{path}:{number}")
                yield f"{path}:{number}", fields[0], fields[2], fields[3]
        return
    for where, row in tables.rows(path):
        names = next((names for names in QRELS if all(name in row for name in names)), None)
        if names is None:
            raise DataError(
                f"no columns {', '.join(QRELS[0])} (there are: {', '.join(row)[:300]})", where=where, hint="Rename the columns."
            )
        yield where, str(row[names[0]]), str(row[names[1]]), row[names[2]]


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    """(id, title and text) of queries or passages; a passage may be empty, as some of BEIR's are."""
    for where, row in tables.rows(path):
        for name in ("_id", "text"):
            if name not in row and name.strip("_") not in row:
                raise DataError(f"no column '{name}' (there are: {', '.join(row)[:300]})", where=where)
        title, text = (str(row.get(name) or "").strip() for name in ("title", "text"))
        yield str(row.get("_id", row.get("id"))), f"{title} {text}".strip()


def _tables(data: Resource, files: list[Path], log: Log) -> Retrieval:
    found, reader = Retrieval(), ResourceRows(data)
    places: dict[str, str] = {}
    for file in files:
        for where, row in reader.read(file, ("anchor", "positive")):
            texts = reader.texts(row, ("anchor", "positive"), where)
            if texts is None:
                continue
            query, passage = f"q{len(found.queries)}", places.setdefault(texts[1], f"d{len(places)}")
            found.queries[query] = texts[0]
            found.passages[passage] = texts[1]
            found.relevant[query] = {passage: 1.0}
    reader.say(log)
    return found
