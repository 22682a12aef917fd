"""Which stages of a plan have to run, and whether what they read is as it was written."""

from __future__ import annotations

from langadapt.contracts.plan import Plan, PlannedStage
from langadapt.store import Store


def needed(plan: Plan, store: Store) -> set[str]:
    """Stages to run: what a result needs and the store lacks, upstream only as far as it is missing."""
    found: set[str] = set()
    todo = list(plan.sinks())
    while todo:
        stage = todo.pop()
        if stage.name in found or store.has(stage.key):
            continue
        found.add(stage.name)
        todo += [plan.stage(name) for name in stage.input_names()]
    return found


def first_damaged(plan: Plan, store: Store) -> PlannedStage | None:
    """The first stored artifact, of those that stages to run or the release will read, that is not what was written."""
    missing = needed(plan, store)
    read = {name for stage in plan.stages if stage.name in missing for name in stage.input_names()}
    read |= {stage.name for stage in plan.sinks()}
    present = [stage for stage in plan.stages if stage.name in read - missing and store.has(stage.key)]
    return next((stage for stage in present if store.damage(stage.key)), None)
