"""A recipe checked as far as it can be without a language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langadapt.errors import LangadaptError, PlanError, did_you_mean, raise_all
from langadapt.manifests import yaml
from langadapt.manifests.parse import parse_manifest
from langadapt.manifests.recipe import RecipeManifest
from langadapt.verbs import VERBS

if TYPE_CHECKING:
    from langadapt.registry.registry import Registry


def check_recipe(document: yaml.Document, registry: Registry) -> None:
    """Check a recipe as far as it can be without a language: verbs, keys, components and their options.

    Raises:
        LangadaptError: everything wrong with it, reported together.
    """
    head: RecipeManifest = parse_manifest(RecipeManifest, document)
    errors: list[LangadaptError] = []
    for name, data in head.stages.items():
        verb = str(data.get("do"))
        where = ("stages", name)
        if verb not in VERBS:
            what = f"stage '{name}' does '{verb}', which is no verb"
            errors.append(PlanError(what, where=document.where((*where, "do")), hint=did_you_mean(verb, VERBS)))
            continue
        model = VERBS[verb].options
        known = {info.alias or field: field for field, info in model.model_fields.items()}
        for key, value in data.items():
            if key not in known:
                what = f"stage '{name}' has no option '{key}'"
                errors.append(PlanError(what, where=document.where((*where, key)), hint=did_you_mean(key, known)))
            elif (kind := model.slots.get(known[key])) is not None:
                errors += _slot_problems(kind, value, registry, document.where((*where, key)))
    raise_all(errors)


def _slot_problems(kind: str, value: Any, registry: Registry, where: str) -> list[LangadaptError]:
    """What is wrong with the components in a slot; options that a manifest fills in are judged by their names alone."""
    if isinstance(value, list):
        return [problem for item in value for problem in _slot_problems(kind, item, registry, where)]
    if value is None or (isinstance(value, str) and value.startswith("$")):
        return []
    try:
        if isinstance(value, str) or not _open(value):
            registry.build(kind, value, where)
            return []
        found = registry.get(kind, str(value.get("use")), where)
    except LangadaptError as error:
        return [error]
    known = found.model_fields
    unknown = [key for key in value if key != "use" and key not in known]
    return [PlanError(f"{kind} '{found.name}' has no option '{key}'", where=where, hint=did_you_mean(key, known)) for key in unknown]


def _open(value: Any) -> bool:
    """Whether a value holds something that a language or domain fills in."""
    if isinstance(value, dict):
        return any(_open(item) for item in value.values())
    if isinstance(value, list):
        return any(_open(item) for item in value)
    return isinstance(value, str) and value.startswith("$")
