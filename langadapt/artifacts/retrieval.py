"""Queries, passages and which belong together: BEIR folders, and tables of question and answer.

A share of the passages can be held out by their content: training leaves them and their queries alone, an evaluator scores on them
alone.  Both sides call :func:`held_out`, so no list of rows has to travel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from langadapt.artifacts import tables
from langadapt.errors import DataError
from langadapt.manifests.resource import Resource

ANCHORS = ("anchor", "query", "question")
POSITIVES = ("positive", "passage", "document", "explanation", "answer")


@dataclass
class Retrieval:
    """Texts by id, and the passages that answer each query with their grade."""

    queries: dict[str, str] = field(default_factory=dict)
    passages: dict[str, str] = field(default_factory=dict)
    relevant: dict[str, dict[str, float]] = field(default_factory=dict)


def held_out(passage: str, share: float) -> bool:
    """True for about `share` of all passages, by their text alone: the same ones everywhere."""
    return int.from_bytes(hashlib.sha256(passage.encode()).digest()[:8], "big") < share * 2**64


def load(data: Resource, paths: list[Path]) -> Retrieval:
    """Read a BEIR folder or tables with a question and a passage.

    A BEIR folder has ``corpus.jsonl``, ``queries.jsonl`` and ``qrels.tsv`` (or a folder ``qrels/`` of such files), gzipped or not.

    Raises:
        DataError: a part of a BEIR set is missing, a judgement names an unknown id, a column is missing, nothing is there.
    """
    files = [file for path in paths for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    named = {file.name.split(".")[0]: file for file in files}
    found = _beir(named, paths) if {"corpus", "queries"} & set(named) else _tables(data, files)
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
    judged = named["qrels"]
    for where, row in (row for file in (sorted(judged.iterdir()) if judged.is_dir() else [judged]) for row in tables.rows(file)):
        query, passage = (tables.column(row, (name,), where) for name in ("query-id", "corpus-id"))
        grade = tables.number(row.get("score"), 0, 100, "score", where)
        for one, known, what in ((query, found.queries, "query"), (passage, found.passages, "passage")):
            if one not in known:
                raise DataError(f"the {what} '{one}' is judged but not there", where=where)
        if grade > 0:
            found.relevant.setdefault(query, {})[passage] = grade
    return found


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    for where, row in tables.rows(path):
        title = str(row.get("title") or "").strip()
        text = tables.column(row, ("text",), where)
        yield tables.column(row, ("_id",), where), f"{title} {text}" if title else text


def _tables(data: Resource, files: list[Path]) -> Retrieval:
    found = Retrieval()
    places: dict[str, str] = {}
    for file in files:
        for where, row in tables.rows(file):
            anchor = tables.column(row, (data.columns.get("anchor", ANCHORS[0]), *ANCHORS[1:]), where)
            positive = tables.column(row, (data.columns.get("positive", POSITIVES[0]), *POSITIVES[1:]), where)
            query, passage = f"q{len(found.queries)}", places.setdefault(positive, f"d{len(places)}")
            found.queries[query] = anchor
            found.passages[passage] = positive
            found.relevant[query] = {passage: 1.0}
    return found
