"""Two or more runs side by side: what they scored, what their plans state differently, what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langadapt.artifacts import scores
from langadapt.artifacts.scores import Scores
from langadapt.planning.keys import differences
from langadapt.running.past import PastRun

Comparison = dict[str, Any]
"""``scores`` (run → scores with differences to the first run) and ``grid``, ``plans`` (run → what differs from the first run, by stage)
and ``costs``."""


def compare(runs: Sequence[PastRun]) -> Comparison:
    """Compare later runs with the first one.  Scores are of what each run released, and paired where the test is the same."""
    names = labels(runs)
    tables: Scores = {name: run.own_scores() for name, run in zip(names, runs, strict=True)}
    scores.add_differences(tables)
    scores.add_groups(tables)
    timed = list(zip(names, runs, strict=True))
    return {
        "scores": scores.plain(tables),
        "grid": dict(zip(("header", "rows"), scores.grid(tables), strict=True)),
        "plans": {name: plan_differences(runs[0], run) for name, run in timed[1:]},
        "costs": {name: {"seconds": round(sum(run.seconds().values()), 1), "bytes": run.size()} for name, run in timed},
    }


def labels(runs: Sequence[PastRun]) -> list[str]:
    """A name for each run: its title where that tells it from the others, else as much of its path as does."""
    titles = [run.title for run in runs]
    if len(set(titles)) == len(titles):
        return titles
    paths = [str(run.path.resolve()) for run in runs]
    return [scores.short(path, paths) for path in paths]


def plan_differences(one: PastRun, other: PastRun) -> dict[str, list[str]]:
    """Stage → what the other run states differently, option by option; inputs that changed follow from these."""
    found: dict[str, list[str]] = {}
    if one.seed != other.seed:
        found["plan"] = [f"seed {one.seed} → {other.seed}"]
    for name in dict.fromkeys([*one.stages, *other.stages]):
        if name not in other.stages:
            found[name] = ["is not there"]
        elif name not in one.stages:
            found[name] = [f"is new ({other.stages[name]['identity']['do']})"]
        else:
            lines = differences(one.stages[name]["identity"], other.stages[name]["identity"])
            found[name] = [line for line in lines if not line.startswith(("input ", "facts.", "seed "))]
    for library in sorted({*one.versions, *other.versions}):
        before, after = one.versions.get(library), other.versions.get(library)
        if before != after:
            found.setdefault("versions", []).append(f"{library} {before or 'none'} → {after or 'none'}")
    return {name: lines for name, lines in found.items() if lines}


def lines_of(found: Comparison) -> list[str]:
    """The comparison as lines of text."""
    lines = scores.table(found["scores"]) if any(found["scores"].values()) else ["No scores lie in these run folders."]
    for name, stages in found["plans"].items():
        lines += ["", f"{name}: what differs from the first" if stages else f"{name}: the same plan"]
        lines += [f"  {stage}: {', '.join(what)}" for stage, what in stages.items()]
    lines += ["", *(f"{name}: {cost(told)}" for name, told in found["costs"].items())]
    return lines


def cost(told: dict[str, Any]) -> str:
    """Time at work and size of the release, for people."""
    size = f"release of {told['bytes'] / 1e6:.1f} MB" if told["bytes"] else "no release"
    return f"{told['seconds']:,.0f} s of work seen by this folder, {size}"
