"""A manifest held against its schema; every complaint carries its line."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from langadapt.errors import LangadaptError, ManifestError, did_you_mean, raise_all
from langadapt.manifests import yaml
from langadapt.manifests.language import LANGUAGE, NAME, RESOURCE, SCRIPT
from langadapt.manifests.resource import Resource, Sources


def parse_manifest(model: type[BaseModel], document: yaml.Document) -> Any:
    """Validate a manifest; every complaint carries its line.

    Raises:
        ManifestError: unknown or missing keys, wrong types (all reported together).
    """
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        problems: list[LangadaptError] = []
        for problem in error.errors():
            path = problem["loc"]
            where = document.where(path)
            if problem["type"] == "extra_forbidden":
                known = _fields_at(model, path[:-1])
                problems.append(ManifestError(f"unknown key '{path[-1]}'", where=where, hint=did_you_mean(str(path[-1]), known)))
            elif problem["type"] == "missing":
                problems.append(ManifestError(f"the key '{path[-1]}' is missing", where=where))
            else:
                value = repr(problem.get("input"))
                shown = value if len(value) <= 100 else f"{value[:80]} …"
                problems.append(ManifestError(f"{shown}: {_plainly(problem)}", where=where))
        raise_all(problems)
        raise


def _plainly(problem: Any) -> str:
    """What pydantic complains of, in words that need no knowledge of it or of patterns."""
    if problem["type"] == "string_pattern_mismatch":
        known = {
            LANGUAGE: "is no language code such as mr, gl or zh-Hant (BCP 47)",
            SCRIPT: "is no script code such as Deva or Latn (ISO 15924)",
            NAME: "is no name of small letters, digits and hyphens",
            RESOURCE: "is no name of letters, digits, '-', '_' and '.'",
        }
        return known.get(problem["ctx"]["pattern"], f"does not look like {problem['ctx']['pattern']}")
    if problem["type"] == "list_type":
        return "a list is meant: [ONE, ANOTHER]"
    return str(problem["msg"][:1].lower() + problem["msg"][1:])


def _fields_at(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    if not path:
        return list(model.model_fields)
    if path[0] == "resources" and len(path) >= 2:
        inner: list[type[BaseModel]] = [Resource, Sources]
        return list(inner[min(len(path) - 2, 1)].model_fields)
    return []
