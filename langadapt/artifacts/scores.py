"""Scores of several encoders on several tasks, on disk and as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langadapt.artifacts.files import read_json, write_json

SCORES = "scores.json"

Scores = dict[str, list[dict[str, Any]]]
"""Encoder name → scores, each with the fields of :class:`langadapt.registry.kinds.Score`."""


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


def grid(scores: Scores) -> tuple[list[str], list[list[str]]]:
    """Header and rows: one row a task and metric, one column an encoder."""
    header = ["task", "metric", "n", *scores]
    keys = dict.fromkeys((s["task"], s["metric"]) for found in scores.values() for s in found)
    rows = []
    for task, metric in keys:
        cells, n = [], ""
        for found in scores.values():
            match = next((s for s in found if (s["task"], s["metric"]) == (task, metric)), None)
            cells.append(cell(match) if match else "–")
            n = f"{match['n']:,}" if match else n
        rows.append([task, metric, n, *cells])
    return header, rows


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
