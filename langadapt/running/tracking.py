"""Losses and scores sent to an experiment tracker that people already have, through accelerate's trackers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langadapt.contracts.hooks import hookimpl
from langadapt.contracts.plan import Plan, PlannedStage
from langadapt.errors import PlanError, did_you_mean

FOLDER = "tracking"
"""In the run folder, where a tracker that writes files writes them."""


class Tracking:
    """An observer of one build: every figure of a training step, and every score, under the name of its stage."""

    def __init__(self, name: str, plan: Plan, run: Path) -> None:
        """Start a tracker.

        Args:
            name: as accelerate calls it: ``tensorboard``, ``wandb``, ``mlflow`` …
            run: the run folder.

        Raises:
            PlanError: accelerate knows no such tracker, or its package is not installed.
        """
        from accelerate import PartialState
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

        if name not in LOGGER_TYPE_TO_CLASS:
            raise PlanError(f"there is no tracker '{name}'", hint=did_you_mean(name, LOGGER_TYPE_TO_CLASS))
        if name not in map(str, get_available_trackers()):
            raise PlanError(f"the tracker '{name}' needs its package, which is not installed", hint=f"pip install {name}")
        PartialState()
        kind = LOGGER_TYPE_TO_CLASS[name]
        self._tracker: Any = kind(plan.title, run / FOLDER) if kind.requires_logging_directory else kind(plan.title)
        if hasattr(kind, "start"):
            self._tracker.start()

    @hookimpl
    def langadapt_log(self, stage: PlannedStage, step: int, metrics: dict[str, Any]) -> None:
        """Figures of one step."""
        self._tracker.log({f"{stage.name}/{key}": value for key, value in metrics.items()}, step=step)

    @hookimpl
    def langadapt_stage_end(self, stage: PlannedStage, outcome: str, artifact: Path | None, seconds: float) -> None:
        """Scores of a stage that evaluated, made now or earlier."""
        from langadapt.artifacts import scores

        if artifact is None or stage.stage.output != "Scores":
            return
        for name, found in scores.load(artifact).items():
            self._tracker.log({f"{stage.name}/{name}/{score['task']} {score['metric']}": score["value"] for score in found}, step=0)

    def finish(self) -> None:
        """Close the tracker's files and connections."""
        self._tracker.finish()
