"""Requests as the command line writes them, parsed once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from langadapt.errors import PlanError
from langadapt.manifests import yaml


def resource_paths(given: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """``--resource NAME=PATH`` by name; a name given twice reads both files.

    Raises:
        PlanError: something else.
    """
    found: dict[str, tuple[str, ...]] = {}
    for item in given:
        name, equals, path = item.partition("=")
        if not equals or not name or not path:
            raise PlanError(f"--resource {item} is not NAME=PATH")
        found[name] = (*found.get(name, ()), path)
    return found


def overrides(given: Iterable[str]) -> dict[str, Any]:
    """``--set KEY=VALUE`` by key, the value read as YAML; of a key given twice, the last.

    Raises:
        PlanError: something else.
        ManifestError: the value is no YAML.
    """
    found: dict[str, Any] = {}
    for item in given:
        path, equals, value = item.partition("=")
        if not equals:
            raise PlanError(f"--set {item} is not KEY=VALUE")
        found.pop(path, None)  # it stands where it was given last
        found[path] = yaml.parse(f"value: {value}", f"--set {item}").data["value"]
    return found


def slot(given: str | None, option: str) -> str | dict[str, Any] | None:
    """``NAME``, or a slot in YAML: ``{use: NAME, option: value}``.

    Raises:
        ManifestError: it is no YAML.
    """
    if given is None or not given.lstrip().startswith("{"):
        return given
    found: dict[str, Any] = yaml.parse(f"slot: {given}", option).data["slot"]
    return found
