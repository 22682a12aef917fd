"""Runs of the past, read from their folders: what was planned, what happened, what came out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langadapt.artifacts import scores
from langadapt.errors import StoreError
from langadapt.files import read_json

LOCK, EVENTS, SCORES = "lock.json", "events.jsonl", "scores"
"""In a run folder: the plan, the log of events, and a folder of scores for each stage that evaluated."""


STATED = ("title", "seed", "versions", "sources", "stages")
"""What lock.json holds."""


@dataclass(frozen=True)
class PastRun:
    """One run folder."""

    path: Path
    title: str
    seed: int
    versions: Mapping[str, str]
    sources: Mapping[str, Mapping[str, Any]]
    stages: Mapping[str, Mapping[str, Any]]
    """Name → ``key`` and ``identity``, in the order of the plan."""
    events: tuple[Mapping[str, Any], ...]

    @classmethod
    def read(cls, path: Path) -> PastRun:
        """Open a run folder.

        Raises:
            StoreError: there is none, or its files are damaged.
        """
        if not (path / LOCK).is_file():
            raise StoreError(
                "is no run folder: it has no lock.json",
                where=str(path),
                hint="Name a folder that 'langadapt build' made (runs/TITLE, or what --out named); 'langadapt runs' lists them.",
            )
        lock = read_json(path / LOCK)
        missing = [key for key in STATED if not isinstance(lock, dict) or key not in lock]
        if missing:
            raise StoreError(f"states no '{missing[0]}'", where=str(path / LOCK), hint="Build into this folder once more.")
        told = {key: lock[key] for key in STATED}
        return cls(path=path, events=tuple(_events(path / EVENTS)), **told)

    @property
    def released(self) -> str | None:
        """The encoder's (or scorer's) stage that the last export wrote."""
        exports = [stage["identity"] for stage in self.stages.values() if stage["identity"]["do"] == "export"]
        keys = exports[-1]["inputs"].get("encoder", []) if exports else []
        return next((name for name, stage in self.stages.items() if keys and stage["key"] == keys[0]), None)

    def scores(self) -> dict[str, scores.Scores]:
        """Stage → scores with their samples, of every stage that evaluated."""
        folders = [(name, self.path / SCORES / name) for name in self.stages]
        return {name: scores.load_all(folder) for name, folder in folders if (folder / scores.SCORES).is_file()}

    def own_scores(self) -> list[dict[str, Any]]:
        """Scores of what was released, without their differences to others of this run; of the last encoder where no stage scored that."""
        tables = list(self.scores().values())
        found = [score for table in tables for score in table.get(self.released or "", [])]
        if not found and tables:
            found = list(tables[-1].values())[-1]
        return [{key: value for key, value in score.items() if key not in ("difference", "group")} for score in found]

    def seconds(self) -> dict[str, float]:
        """How long each stage of the plan took when this folder last saw it made; one that came from the store is left out."""
        keys = {name: stage["key"] for name, stage in self.stages.items()}
        done = [event for event in self.events if event.get("event") == "stage_end" and event.get("outcome") == "done"]
        return {event["stage"]: float(event["seconds"]) for event in done if keys.get(event["stage"]) == event["key"]}

    def state(self) -> str:
        """``done``, ``failed`` or ``unfinished`` (stopped, killed or still at work)."""
        told = [event for event in self.events if event.get("event") in ("stage_end", "build_end", "build_start")]
        last: Mapping[str, Any] = told[-1] if told else {}
        if last.get("event") == "build_end":
            return "done"
        return "failed" if last.get("outcome") == "failed" else "unfinished"

    @property
    def time(self) -> float | None:
        """Of the last event, in seconds since 1970."""
        return float(self.events[-1]["time"]) if self.events else None

    def size(self) -> int:
        """Bytes of the release; 0 without one."""
        return sum(file.stat().st_size for file in (self.path / "release").rglob("*") if file.is_file())


def _events(file: Path) -> Iterator[dict[str, Any]]:
    """Lines of the log; the last one of a process that was killed may be cut short."""
    if not file.is_file():
        return
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and "time" in event:
                yield event


def find_runs(folder: Path) -> list[PastRun]:
    """Run folders in a folder (and that folder itself), the newest last; those that cannot be read are left out."""
    found = []
    for place in (folder, *sorted(folder.glob("*"))):
        if (place / LOCK).is_file():
            try:
                found.append(PastRun.read(place))
            except StoreError:
                continue
    return sorted(found, key=lambda run: run.time or 0.0)
