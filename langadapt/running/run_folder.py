"""A run folder: what was planned (``lock.json``), what happened (``events.jsonl``), pictures and pages, and the release."""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langadapt.artifacts import scores
from langadapt.contracts.component import Log
from langadapt.contracts.plan import Plan
from langadapt.errors import StoreError
from langadapt.files import read_json, write_json
from langadapt.reports.page import PAGE
from langadapt.reports.picture import loss_curves
from langadapt.running import publishing
from langadapt.running.past import EVENTS, LOCK, SCORES
from langadapt.store import Store, disk_error
from langadapt.verbs.evaluate.contamination import SEEN
from langadapt.verbs.evaluate.examples import EXAMPLES
from langadapt.verbs.evaluate.run import UNSCORED, unscored_in
from langadapt.version import __version__


@dataclass(frozen=True)
class RunFolder:
    """The folder of one plan; the first of several processes alone writes to it."""

    path: Path
    writes: bool

    def open(self) -> None:
        """Make it ready.

        Raises:
            StoreError: it cannot be written, or holds a release that no build made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / EVENTS).touch()
        except OSError as error:
            raise disk_error(error, f"the run folder {self.path} cannot be written", "--out") from error
        if self.writes:
            publishing.tidy(self.path)
        release = self.path / publishing.RELEASE
        if release.exists() and not publishing.is_ours(self.path):
            raise StoreError(
                "there is something that no build made, and a build would replace it",
                where=str(release),
                hint="Move it away, or choose another run folder with --out.",
            )

    def write_lock(self, plan: Plan) -> None:
        """``lock.json``: keys and what they were made from, pinned sources, versions."""
        stages = {stage.name: {"key": stage.key, "identity": stage.identity} for stage in plan.stages}
        sources = {
            resource.name: {"place": resource.pinned.place, "from": resource.pinned.label, **resource.pinned.identity}
            for stage in plan.stages
            for resource in stage.resources()
        }
        facts = {"title": plan.title, "seed": plan.seed, "versions": versions(), "sources": sources, "stages": stages}
        write_json(self.path / LOCK, facts)

    def event(self, log: Log, event: str, **values: Any) -> None:
        """Add a line to ``events.jsonl``; a disk that is full is a warning, and ends nothing."""
        if not self.writes:
            return
        line = json.dumps({"time": round(time.time(), 3), "event": event, **values}, ensure_ascii=False)
        try:
            with (self.path / EVENTS).open("a", encoding="utf-8", errors="backslashreplace") as handle:
                handle.write(line + "\n")
        except OSError as error:
            log.warning(f"events.jsonl: {error.strerror}")

    def keep_scores(self, plan: Plan, store: Store) -> None:
        """Copy what was scored, with what lets another run be paired with it, so that the folder tells it without the store."""
        fresh = self.path / f".{SCORES}"
        shutil.rmtree(fresh, ignore_errors=True)
        for stage in plan.stages:
            if stage.stage.output == "Scores":
                folder = fresh / stage.name
                folder.mkdir(parents=True)
                for name in (scores.SCORES, scores.SAMPLES, scores.DRAWINGS, EXAMPLES, SEEN, UNSCORED):
                    if (store.path(stage.key) / name).is_file():
                        shutil.copyfile(store.path(stage.key) / name, folder / name)
        shutil.rmtree(self.path / SCORES, ignore_errors=True)
        if fresh.is_dir():
            fresh.rename(self.path / SCORES)

    def unscored(self) -> list[str]:
        """A sentence for each test that an encoder has no score on."""
        return [line for folder in sorted((self.path / SCORES).glob("*")) for line in unscored_in(folder)]

    def show(self, plan: Plan, store: Store) -> None:
        """``losses.svg`` of the stages that trained, and ``data-STAGE.html`` of the translated data sets."""
        curves = {}
        for stage in plan.stages:
            history, page = (store.path(stage.key) / name for name in ("training.json", PAGE))
            if history.is_file():
                curves[stage.name] = [(float(step), float(loss)) for step, loss in read_json(history).get("losses", [])]
            if page.is_file():
                shutil.copyfile(page, self.path / f"data-{stage.name}.html")
        if curves:
            (self.path / "losses.svg").write_text(loss_curves(curves), encoding="utf-8")

    def publish(self, plan: Plan, store: Store) -> Path | None:
        """Copy the release out of the store, whole or not at all; a release that is there already stays."""
        exports = [stage for stage in plan.stages if stage.stage.output == "Release"]
        return publishing.publish(store.path(exports[-1].key), exports[-1].key, self.path) if exports else None


def versions() -> dict[str, str]:
    """Versions worth recording with an artifact; only of what is loaded already."""
    names = ("torch", "transformers", "tokenizers", "datasets", "accelerate", "numpy")
    loaded = {name: str(sys.modules[name].__version__) for name in names if name in sys.modules}
    return {"langadapt": __version__, **loaded}
