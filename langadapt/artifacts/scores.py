"""Scores of several encoders on several tasks, on disk and as a table."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from langadapt.files import read_json, write_json

SCORES = "scores.json"

Scores = dict[str, list[dict[str, Any]]]
"""Encoder name → scores, each with the fields of :class:`langadapt.registry.kinds.Score` but the samples, and, where an earlier encoder
has the same score, its `difference` to the first one's: value, low and high."""


def records(scores: list[Any], made: str = "") -> tuple[list[dict[str, Any]], list[str]]:
    """Scores as plain data, and a sentence for each figure that is no number, which is no score.

    Args:
        scores: of one evaluator on one encoder.
        made: how the test's texts came to be, where that is known: ``generated``, ``translated``.
    """
    found, problems = [], []
    for score in scores:
        if not math.isfinite(score.value):
            problems.append(f"{score.task}: {score.metric} is {score.value}, which is no score (are all values alike?)")
            continue
        row = {field.name: getattr(score, field.name) for field in dataclasses.fields(score)}
        for end in ("low", "high"):
            if row[end] is not None and not math.isfinite(row[end]):
                row[end] = None
        found.append({**row, **({"made": made} if made else {})})
    return found, problems


def add_differences(scores: Scores) -> None:
    """Give every score of a later encoder its difference to the first one's, with a paired 95 % interval, and drop the samples."""
    first: dict[tuple[str, str, int], dict[str, Any]] = {}
    for i, found in enumerate(scores.values()):
        seen: Counter[tuple[str, str]] = Counter()
        for score in found:
            name = (score["task"], score["metric"])
            place = (*name, seen[name])  # two tests of one name are told apart by their order
            seen[name] += 1
            if i == 0:
                first[place] = score
            elif place in first:
                score["difference"] = _difference(score, first[place])
    for found in scores.values():
        for score in found:
            score.pop("resampled", None)


def _difference(score: dict[str, Any], base: dict[str, Any]) -> dict[str, float | None]:
    ours, theirs = score.get("resampled"), base.get("resampled")
    low = high = None
    if ours is not None and theirs is not None and len(ours) == len(theirs):
        low, high = (float(end) for end in np.nanpercentile(np.asarray(ours) - np.asarray(theirs), [2.5, 97.5]))
    return {"value": score["value"] - base["value"], "low": low, "high": high}


def losses(scores: Scores, name: str) -> list[dict[str, Any]]:
    """Scores of an encoder that lie below the first encoder's, beyond the paired interval."""
    return [score for score in scores.get(name, []) if _is_worse(score)]


def _is_worse(score: dict[str, Any]) -> bool:
    difference = score.get("difference")
    if not difference or difference["low"] is None:
        return False
    return bool(difference["high"] < 0 if score.get("higher_is_better", True) else difference["low"] > 0)


def save(scores: Scores, folder: Path) -> None:
    """Write the scores; encoders keep their order."""
    write_json(folder / SCORES, scores)


def load(folder: Path) -> Scores:
    """Read saved scores."""
    found: Scores = read_json(folder / SCORES)
    return found


def cell(score: dict[str, Any]) -> str:
    """``78.9 [77.1, 80.6]``: value and 95 % interval."""
    if score["low"] is None:
        return f"{score['value']:.3g}" if abs(score["value"]) < 10 else f"{score['value']:.1f}"
    places = 3 if score.get("unit") == "0 to 1" else 1
    return f"{score['value']:.{places}f} [{score['low']:.{places}f}, {score['high']:.{places}f}]"


def signed(score: dict[str, Any]) -> str:
    """``+2.1 [0.4, 3.8]``: the difference to the first encoder with its paired interval; empty where there is none."""
    difference = score.get("difference")
    if not difference:
        return ""
    places = 3 if score.get("unit") == "0 to 1" else 1
    shown = f"{difference['value']:+.{places}f}"
    return shown if difference["low"] is None else f"{shown} [{difference['low']:+.{places}f}, {difference['high']:+.{places}f}]"


def grid(scores: Scores) -> tuple[list[str], list[list[str]]]:
    """Header and rows: one row a task and metric, one column an encoder, and the last one's difference to the first."""
    names = list(scores)
    paired = any("difference" in score for score in scores[names[-1]]) if len(names) > 1 else False
    header = ["task", "metric", "n", *(short(name, names) for name in names), *(["last − first"] if paired else [])]
    keys = dict.fromkeys((s["task"], s["metric"]) for found in scores.values() for s in found)
    rows = []
    for task, metric in keys:
        cells, n, made, last = [], "", "", ""
        for found in scores.values():
            match = next((s for s in found if (s["task"], s["metric"]) == (task, metric)), None)
            cells.append(cell(match) if match else "–")
            n = f"{match['n']:,}" if match else n
            made = match.get("made", "") if match else made
            last = signed(match) if match else ""
        rows.append([f"{task} ({made})" if made else task, metric, n, *cells, *([last] if paired else [])])
    return header, rows


def short(name: str, names: list[str]) -> str:
    """A folder by as many of its last parts as tell it from the others; any other name as it is."""
    parts = Path(name).parts
    for count in range(1, len(parts) + 1):
        found = "/".join(parts[-count:])
        if all(other == name or "/".join(Path(other).parts[-count:]) != found for other in names):
            return found
    return name


def table(scores: Scores) -> list[str]:
    """The grid as aligned lines of text."""
    header, rows = grid(scores)
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in [header, *rows]]


def markdown(scores: Scores) -> list[str]:
    """The grid as a Markdown table."""
    header, rows = grid(scores)
    return [
        "| " + " | ".join(header) + " |",
        "|" + " --- |" * len(header),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
