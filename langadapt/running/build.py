"""A request planned, or built: what ``langadapt.plan`` and ``langadapt.build`` do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from langadapt.contracts.plan import Plan, PlannedStage, Request
from langadapt.files import read_json
from langadapt.planning.compile import compile_plan
from langadapt.planning.keys import differences
from langadapt.registry.setup import setup
from langadapt.running.runner import Outcome, Runner
from langadapt.running.tracking import Tracking
from langadapt.store import Store, default_root


@dataclass(frozen=True)
class StageState:
    """How a plan's stage stands to the store: present, or missing and why."""

    stage: PlannedStage
    present: bool
    reasons: tuple[str, ...]


def plan(request: Request, plugins: Sequence[str] = ()) -> Plan:
    """Compile a request with the installed plugins (and the modules named)."""
    registry, catalog = setup(plugins)
    return compile_plan(request, registry, catalog)


def build(
    request: Request,
    *,
    plugins: Sequence[str] = (),
    store: Path | None = None,
    out: Path | None = None,
    quiet: bool = False,
    device: str = "auto",
    track: str | None = None,
) -> Outcome:
    """Compile and run; the release lies in the run folder afterwards.

    Args:
        track: name of an experiment tracker that accelerate knows (``tensorboard``, ``wandb``, ``mlflow`` …).

    Raises:
        LangadaptError: see the subclasses; nothing is left half-written.
    """
    registry, catalog = setup(plugins)
    compiled = compile_plan(request, registry, catalog)
    runner = Runner(compiled, registry, Store(store or default_root()), out or Path("runs") / compiled.title, quiet, device)
    if track is None or runner.rank > 0:
        return runner.run()
    tracking = Tracking(track, compiled, runner.folder.path, device)
    registry.plugins.manager.register(tracking)
    try:
        return runner.run()
    finally:
        registry.plugins.manager.unregister(tracking)
        tracking.finish()


def states(compiled: Plan, store: Store, run_dir: Path) -> list[StageState]:
    """For each stage: is its artifact in the store, and if not, what changed since this run folder's last build."""
    lock = run_dir / "lock.json"
    before = read_json(lock).get("stages", {}) if lock.is_file() else {}
    found = []
    for stage in compiled.stages:
        reasons: list[str] = []
        if not store.has(stage.key):
            earlier = before.get(stage.name)
            if earlier is None:
                reasons = ["never built here"]
            elif earlier["key"] == stage.key:
                reasons = ["not in the store"]
            else:
                reasons = _named(differences(earlier["identity"], stage.identity))
        found.append(StageState(stage, store.has(stage.key), tuple(reasons)))
    return found


def _named(lines: list[str]) -> list[str]:
    """Facts of a release follow from its stages; say only what is left when an input explains the change."""
    inputs = [line for line in lines if line.startswith("input ")]
    own = [line for line in lines if not line.startswith(("input ", "facts."))]
    return own + inputs or lines[:3]
