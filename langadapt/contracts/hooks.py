"""Everything a plugin may implement, on one page.

Hooks register and observe; they never change a result, so a cache key always tells the truth.
A plugin module does ``from langadapt.contracts.hooks import ComponentRef, hookimpl`` and decorates its functions with
``@hookimpl``.  This module imports pluggy alone, so listing plugins stays cheap.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from langadapt.contracts.plan import Plan, PlannedStage

hookspec = pluggy.HookspecMarker("langadapt")
hookimpl = pluggy.HookimplMarker("langadapt")


@dataclass(frozen=True)
class ComponentRef:
    """Where a component is, as strings: nothing is imported until a recipe names it."""

    kind: str
    name: str
    target: str
    """``package.module:Class``."""
    summary: str = ""
    default: bool = False
    """True for the one of its kind that a command takes where its user names none."""


@hookspec
def langadapt_components() -> Iterable[ComponentRef]:
    """The components this plugin brings.  Called once when plugins are loaded; must not import them."""
    return ()


@hookspec
def langadapt_data_dirs() -> Iterable[Path]:
    """Folders that hold ``languages/``, ``domains/`` or ``recipes/`` with YAML manifests."""
    return ()


@hookspec
def langadapt_plan_ready(plan: Plan) -> None:
    """Called with the compiled plan before anything runs.  Raise LangadaptError to veto (licence, budget)."""


@hookspec
def langadapt_stage_start(stage: PlannedStage) -> None:
    """Called before a stage runs; not for stages whose artifact is in the store."""


@hookspec
def langadapt_stage_end(stage: PlannedStage, outcome: str, artifact: Path | None, seconds: float) -> None:
    """Called after a stage.

    Args:
        stage: the stage as planned.
        outcome: ``reused``, ``done`` or ``failed``.
        artifact: its folder in the store; None when it failed.
        seconds: wall-clock time spent.
    """


@hookspec
def langadapt_log(stage: PlannedStage, step: int, metrics: dict[str, Any]) -> None:
    """Called with the figures of a training step, as often as the loop reports them."""
