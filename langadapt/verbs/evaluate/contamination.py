"""Rows of the tests that an encoder was trained on: they are counted, named, and left out of a second score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from langadapt.artifacts import dataset
from langadapt.contracts.component import SilentLog
from langadapt.contracts.results import Evaluator
from langadapt.data.check import READERS
from langadapt.data.seen import Row, SeenRow, find, row_key, seen_rows
from langadapt.errors import LangadaptError
from langadapt.verbs.evaluate.rules import TRAINED_ON
from langadapt.verbs.job import Job

SEEN = "seen.json"

NAMED = 50
"""Rows of one test that are named; more are counted."""

Seen = Mapping[int, frozenset[int]]
"""Place of an evaluator → rows of its test, as the file has them, that an encoder of the table was trained on."""


def seen_in_training(job: Job) -> tuple[Seen, dict[str, list[dict[str, Any]]]]:
    """Rows of each evaluator's test that each encoder was trained on, and the same as plain data: encoder → one entry a test.

    Each data set is read once, however many tests and encoders there are.
    """
    of_encoder: Mapping[str, list[int]] = job.planned.identity[TRAINED_ON]
    told: dict[str, list[dict[str, Any]]] = {encoder: [] for encoder, places in of_encoder.items() if places}
    if not told:
        return {}, told
    tests = [_rows(evaluator, job) for evaluator in job.slot("evaluators")]
    normalizer = job.slot("normalizer")
    read = [[tuple(map(normalizer.normalize, row)) for row in rows] for rows in tests] if normalizer else tests
    texts = [text for rows in read for row in rows for text in row]
    data = zip(job.planned.inputs[TRAINED_ON], job.inputs[TRAINED_ON], strict=True)
    matches = [find(texts, dataset.load(folder).texts(), name) if texts else {} for name, folder in data]
    found: dict[int, frozenset[int]] = {}
    for i, evaluator in enumerate(job.slot("evaluators")):
        for encoder, entries in told.items():
            seen = seen_rows(read[i], [matches[place] for place in of_encoder[encoder]])
            if tests[i]:
                entries.append(_entry(evaluator, tests[i], seen))
            if seen:
                found[i] = found.get(i, frozenset()) | {row_key(tests[i][row.place]) for row in seen}
    return found, told


def _rows(evaluator: Evaluator, job: Job) -> list[Row]:
    """The rows that an evaluator scores on; none where there is no such data, or where reading it is the evaluator's to refuse."""
    data, quiet = evaluator.test_data, replace(job.ctx, log=SilentLog())  # the evaluator itself says what it leaves out
    try:
        rows = evaluator.test_rows(quiet)
        if rows is None:
            rows = list(READERS[data.format](data, quiet)) if data is not None and data.format in READERS else []
    except LangadaptError:
        return []
    return [tuple(row) for row in rows]


def _entry(evaluator: Evaluator, rows: Sequence[Row], seen: Sequence[SeenRow]) -> dict[str, Any]:
    same = sum(row.same for row in seen)
    data = evaluator.test_data
    return {
        "task": data.name if data is not None else evaluator.name,
        "evaluator": evaluator.name,
        "rows": len(rows),
        "exact": same,
        "near": len(seen) - same,
        "where": ", ".join(dict.fromkeys(match.place for row in seen for match in row.matches)),
        "named": [{"row": list(row.row), "trained": [match.text for match in row.matches], "same": row.same} for row in seen[:NAMED]],
    }


def sentence(entry: Mapping[str, Any], encoder: str) -> str:
    """One line for people; empty where nothing was seen."""
    count = entry["exact"] + entry["near"]
    if not count:
        return ""
    how = f"{entry['exact']:,} word for word, {entry['near']:,} nearly"
    return f"{encoder} was trained on {count:,} of the {entry['rows']:,} rows of {entry['task']} ({how}; in {entry['where']})"
