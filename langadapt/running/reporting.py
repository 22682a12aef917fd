"""Everything a report of a run shows, gathered into one file of plain data beside the page."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langadapt.artifacts import dataset, scores
from langadapt.contracts.plan import Plan, PlannedStage
from langadapt.errors import StoreError
from langadapt.files import read_json, write_json, write_text
from langadapt.reports.report import FACTS, REPORT, report_page
from langadapt.running.past import LOCK, SCORES, PastRun
from langadapt.store import Store
from langadapt.verbs.evaluate.contamination import SEEN
from langadapt.verbs.evaluate.examples import EXAMPLES
from langadapt.verbs.evaluate.run import unscored_in

DROPPED = "dropped by "
"""In a data set's description: begins the keys that count what a selector took out."""


def write_report(plan: Plan, store: Store, run: PastRun, reused: list[str]) -> Path:
    """Gather what a build did and write its page; returns it."""
    write_json(run.path / FACTS, _plain(_facts(plan, store, run, reused)))
    return rewrite_report(run.path)


def rewrite_report(run: Path) -> Path:
    """Write the page once more from what was gathered.

    Raises:
        StoreError: nothing was gathered there.
    """
    if not (run / FACTS).is_file():
        if (run / LOCK).is_file():
            again = "Run the same build once more: what is in the store is not made again."
            raise StoreError(f"holds no {FACTS}, from which a report is made", where=str(run), hint=again)
        raise StoreError("is no run folder", where=str(run), hint="'langadapt runs' lists run folders.")
    write_text(run / REPORT, report_page(read_json(run / FACTS)).encode())
    return run / REPORT


def _facts(plan: Plan, store: Store, run: PastRun, reused: list[str]) -> dict[str, Any]:
    spent = {event["stage"]: event for event in run.events if event.get("event") == "stage_end" and event.get("outcome") == "done"}
    tables = run.scores()
    seen = {name: run.path / SCORES / name / SEEN for name in tables}
    looked = {name: run.path / SCORES / name / EXAMPLES for name in tables}
    return {
        "title": plan.title,
        "language": plan.language,
        "domain": plan.domain,
        "recipes": list(plan.recipes),
        "seed": plan.seed,
        "versions": dict(run.versions),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} logical processors",
        "made": time.strftime("%Y-%m-%d %H:%M", time.localtime()),
        "released": run.released,
        "release_bytes": run.size(),
        "stages": [_stage(stage, plan, spent, reused) for stage in plan.stages],
        "training": {stage.name: found for stage in plan.stages if (found := _training(stage, store))},
        "data": [found for stage in plan.stages if (found := _data(stage, store))],
        "resources": _resources(plan),
        "scores": {name: scores.plain(table) for name, table in tables.items()},
        "grids": {name: dict(zip(("header", "rows"), scores.grid(table), strict=True)) for name, table in tables.items()},
        "drawings": {name: _drawings(table) for name, table in tables.items()},
        "seen": {name: read_json(file) for name, file in seen.items() if file.is_file()},
        "problems": [line for name in tables for line in unscored_in(run.path / SCORES / name)],
        "examples": {name: read_json(file) for name, file in looked.items() if file.is_file()},
    }


def _plain(value: Any) -> Any:
    """The same without numbers that JSON has not: a validation of an encoder that collapsed is none."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _stage(stage: PlannedStage, plan: Plan, spent: Mapping[str, Mapping[str, Any]], reused: list[str]) -> dict[str, Any]:
    """A stage with what it read; its cost where this folder saw it made."""
    event = spent.get(stage.name, {})
    cost = {key: event[key] for key in ("seconds", "peak_mb", "joules") if key in event and event.get("key") == stage.key}
    used = {name: slot["use"] for name, slot in stage.identity["slots"].items() if isinstance(slot, Mapping)}
    return {
        "name": stage.name,
        "do": stage.stage.do,
        "inputs": list(dict.fromkeys(stage.input_names())),
        "uses": used,
        "from_store": stage.name in reused,
        "key": stage.key[:10],
        **cost,
    }


def _training(stage: PlannedStage, store: Store) -> dict[str, Any]:
    file = store.path(stage.key) / "training.json"
    if not file.is_file():
        return {}
    told = read_json(file)
    return {key: told[key] for key in ("steps", "losses", "validations", "best_step", "best_value") if key in told}


def _data(stage: PlannedStage, store: Store) -> dict[str, Any]:
    """How many rows a data stage read, dropped by each check, and kept."""
    file = store.path(stage.key) / dataset.ABOUT
    if not file.is_file() or stage.stage.output not in ("Corpus", "Pairs"):
        return {}
    told = read_json(file)
    lost = {"empty": told.get("empty", 0), "exact repeats": told.get("exact_repeats", 0)}
    lost |= {key.removeprefix(DROPPED): count for key, count in told.items() if key.startswith(DROPPED)}
    dropped = {name: count for name, count in lost.items() if count}
    return {"stage": stage.name, "kept": told["rows"], "dropped": dropped, "read": told.get("read", told["rows"] + sum(dropped.values()))}


def _resources(plan: Plan) -> list[dict[str, str]]:
    """Each resource once, by what it is and not by where this machine keeps it."""
    found = {}
    for stage in plan.stages:
        for resource in stage.resources():
            label = ", ".join(path.name for path in resource.pinned.paths) or resource.pinned.label
            found[resource.name, label] = {"name": resource.name, "from": label, "licence": resource.licence, "origin": resource.origin}
    return list(found.values())


def _drawings(table: scores.Scores) -> dict[str, list[dict[str, Any]]]:
    """Encoder → what is to be drawn of its scores."""
    keys = ("task", "metric", "value", "n", "drawing")
    return {name: [{key: score[key] for key in keys} for score in found if score.get("drawing")] for name, found in table.items()}
