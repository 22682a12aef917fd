"""Values of manifests that the user changes (``--set``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langadapt.errors import PlanError, did_you_mean
from langadapt.planning.raw import RawStage

Overrides = Mapping[str, Any]
"""Dotted path → value, as ``--set`` gives them, in their order."""


def below(overrides: Overrides, scope: str) -> Overrides:
    """Those of one scope (``lang``, ``domain``, ``stages``)."""
    return {path: value for path, value in overrides.items() if path.startswith(f"{scope}.")}


def assign_all(data: dict[str, Any], overrides: Overrides) -> None:
    """Write overrides of a manifest into what its file says; the first part of their paths is the scope."""
    for path, value in overrides.items():
        assign(data, path.split(".")[1:], value, shown(path, value))


def assign_stage(stages: list[RawStage], path: str, value: Any) -> None:
    """Apply ``stages.NAME.key``; a stage's name may itself hold a dot (chained recipes).

    Raises:
        PlanError: no such stage, or a path that leads nowhere.
    """
    parts = path.split(".")
    if parts[0] != "stages" or len(parts) < 3:
        raise PlanError(shown(path, value), hint="Write stages.STAGE.OPTION=VALUE, lang.KEY=VALUE or domain.KEY=VALUE.")
    by_name = {stage.name: stage for stage in stages}
    for split in (2, 3):
        name = ".".join(parts[1:split])
        if name in by_name and len(parts) > split:
            assign(by_name[name].data, parts[split:], value, shown(path, value))
            return
    raise PlanError(f"{shown(path, value)}: there is no stage '{parts[1]}'", hint=did_you_mean(parts[1], by_name))


def shown(path: str, value: Any) -> str:
    """An override as the command line writes it."""
    return f"--set {path}={value}"


def assign(data: dict[str, Any], path: list[str], value: Any, told: str) -> None:
    """Put a value at a path below plain data, in new copies of what lies on the way.

    Raises:
        PlanError: a list lies on the way.
    """
    for key in path[:-1]:
        inner = data.get(key)
        if isinstance(inner, str):  # 'objective: mlm' grows options by becoming 'objective: {use: mlm}'
            inner = {"use": inner}
        if inner is not None and not isinstance(inner, dict):
            raise PlanError(f"{told}: '{key}' is a list; set it as a whole")
        data[key] = dict(inner or {})
        data = data[key]
    data[path[-1]] = value
