"""The page that shows runs side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langadapt.reports.shell import chart, page, table


def comparison_page(found: Mapping[str, Any]) -> str:
    """The page as HTML, complete in one file.

    Args:
        found: a :data:`langadapt.running.comparing.Comparison`.
    """
    costs = [[name, f"{told['seconds']:,.1f} s", f"{told['bytes'] / 1e6:,.1f} MB"] for name, told in found["costs"].items()]
    grid = found["grid"]
    scores = table(grid["header"], grid["rows"], "Scores of what each run released, with 95 % intervals") if grid["rows"] else ""
    sections = [
        ("Scores", scores + chart("scores", "Scores of each run with 95 % intervals", stage="runs") if scores else "<p>No scores.</p>"),
        *[(f"{name}: what differs from the first", _plans(stages)) for name, stages in found["plans"].items()],
        ("Time and size", table(["run", "work seen by its folder", "release"], costs, "What each run cost")),
    ]
    return page("Runs compared", sections, {"scores": {"runs": found["scores"]}})


def _plans(stages: Mapping[str, list[str]]) -> str:
    if not stages:
        return "<p>The same plan.</p>"
    return table(["stage", "difference"], [[stage, "; ".join(lines)] for stage, lines in stages.items()], "Differences", numbers=False)
