"""Losses and scores sent to an experiment tracker that people already have, through accelerate's trackers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from langadapt.contracts.hooks import hookimpl
from langadapt.contracts.plan import Plan, PlannedStage
from langadapt.errors import PlanError, did_you_mean

FOLDER = "tracking"
"""In the run folder, where a tracker that writes files writes them."""


class Tracking:
    """An observer of one build: every figure of a training step, and every score, under the name of its stage."""

    def __init__(self, name: str, plan: Plan, run: Path, device: str = "auto") -> None:
        """Start a tracker.

        Args:
            name: as accelerate calls it: ``tensorboard``, ``wandb``, ``mlflow`` …
            run: the run folder.
            device: of the build.

        Raises:
            PlanError: accelerate knows no such tracker, or its package is not installed.
        """
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

        if name not in LOGGER_TYPE_TO_CLASS:
            raise PlanError(f"there is no tracker '{name}'", hint=did_you_mean(name, LOGGER_TYPE_TO_CLASS))
        if name not in map(str, get_available_trackers()):
            raise PlanError(f"the tracker '{name}' needs its package, which is not installed", hint=f"pip install {name}")
        self._kind: Any = LOGGER_TYPE_TO_CLASS[name]
        self._title, self._folder, self._cpu = plan.title, run / FOLDER, device == "cpu"
        self._tracker: Any = None
        self._step = 0
        self._begun: dict[str, int] = {}

    def _send(self, stage: str, step: int, values: dict[str, Any]) -> None:
        """One line of figures.  Steps go on from stage to stage, as trackers want them, and names have letters that all of them take."""
        if self._tracker is None:  # not before training has chosen devices and processes
            from accelerate import PartialState

            PartialState(cpu=self._cpu)
            self._tracker = self._kind(self._title, self._folder) if self._kind.requires_logging_directory else self._kind(self._title)
            if hasattr(self._kind, "start"):
                self._tracker.start()
        self._step = max(self._step, self._begun.setdefault(stage, self._step) + step)
        self._tracker.log({re.sub(r"[^\w./ -]", "-", f"{stage}/{name}"): value for name, value in values.items()}, step=self._step)

    @hookimpl
    def langadapt_log(self, stage: PlannedStage, step: int, metrics: dict[str, Any]) -> None:
        """Figures of one step."""
        self._send(stage.name, step, metrics)

    @hookimpl
    def langadapt_stage_end(self, stage: PlannedStage, outcome: str, artifact: Path | None, seconds: float) -> None:
        """Scores of a stage that evaluated, made now or earlier."""
        from langadapt.artifacts import scores

        if artifact is None or stage.stage.output != "Scores":
            return
        for name, found in scores.load(artifact).items():
            self._send(stage.name, 0, {f"{name}/{score['task']} {score['metric']}": score["value"] for score in found})

    def finish(self) -> None:
        """Close the tracker's files and connections."""
        if self._tracker is not None:
            self._tracker.finish()
