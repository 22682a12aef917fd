"""Keys of stages, and why one changed.

A key hashes the stage's verb and version, its components with their keyed options, the keys of its inputs, pinned sources, precision and
seed; not stage names, paths or devices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from langadapt.manifests.resource import Resource
from langadapt.verbs.rules import Draft

SCHEMA = 1
"""Raise to invalidate every stored artifact (the meaning of keys changed)."""


def identity_of(draft: Draft, seed: int) -> dict[str, Any]:
    """What a stage's result follows from, as plain JSON."""
    stage = draft.stage
    options = dict(stage.model_dump(mode="json", exclude={*stage.slots, *stage.inputs, "do", "source"}).items())
    source = getattr(stage, "source", None)
    if isinstance(source, Resource):
        options["source"] = source.identity()
    return {
        "schema": SCHEMA,
        "do": stage.do,
        "version": stage.version,
        "seed": seed,
        "options": options,
        "slots": {name: _identities(value) for name, value in draft.slots.items() if value is not None},
        "inputs": {role: [draft.planned[name].key for name in names] for role, names in draft.inputs.items()},
    }


def _identities(value: Any) -> Any:
    return [item.identity() for item in value] if isinstance(value, list) else value.identity()


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Why a key changed, as short lines: ``learning_rate 2e-05 → 3e-05``."""
    before, after = dict(_flat(old)), dict(_flat(new))
    lines = []
    for path in dict.fromkeys([*before, *after]):
        if before.get(path) != after.get(path):
            name = path.removeprefix("options.").removeprefix("slots.")
            if path.startswith("inputs."):
                lines.append(f"input {name.removeprefix('inputs.').rsplit('.', 1)[0]} changed")
            else:
                lines.append(f"{name} {_show(before.get(path))} → {_show(after.get(path))}")
    return list(dict.fromkeys(lines))


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, item in items:
        here = f"{path}.{key}" if path else str(key)
        if isinstance(item, Mapping | list):
            yield from _flat(item, here)
        else:
            yield here, item


def _show(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 20 else text[:12] + "…"
