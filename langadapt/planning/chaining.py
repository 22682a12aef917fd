"""Recipes one after another: what the first releases is the base of the second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langadapt.errors import PlanError
from langadapt.planning.raw import RawStage
from langadapt.verbs import VERBS


def chain(before: list[RawStage], after: list[RawStage]) -> list[RawStage]:
    """Append a recipe whose base becomes the encoder that the earlier one released."""
    if not before:
        return after
    released = next((stage.data.get("encoder") for stage in reversed(before) if stage.data.get("do") == "export"), None)
    if released is None:
        raise PlanError(
            f"recipe '{before[-1].recipe}' exports nothing, so '{after[0].recipe}' cannot build on it", where=before[-1].where()
        )
    taken = {stage.name for stage in before}
    renamed = {stage.name: f"{stage.recipe}.{stage.name}" if stage.name in taken else stage.name for stage in after}
    for stage in after:
        stage.name = renamed[stage.name]
        stage.data = {key: _rename(key, value, renamed) for key, value in stage.data.items()}
        if stage.data.get("do") == "load" and stage.data.get("source") == "$lang.encoder":
            del stage.data["source"]
            stage.data["encoder"] = released
    return before + after


INPUT_KEYS = tuple(dict.fromkeys(role for verb in VERBS.values() for role in verb.options.inputs))


def _rename(key: str, value: Any, renamed: Mapping[str, str]) -> Any:
    if key not in INPUT_KEYS:
        return value
    if isinstance(value, list):
        return [_rename(key, item, renamed) for item in value]
    return renamed.get(value, value) if isinstance(value, str) else value
