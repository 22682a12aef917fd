"""Recipes, language, domain and overrides put together into raw stages, before any type is checked.

Substitution replaces whole values only: ``$lang.nli`` becomes the language's resource ``nli``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from langadapt.errors import LangadaptError, ManifestError, PlanError, did_you_mean, raise_all
from langadapt.manifests import yaml
from langadapt.manifests.language import DomainManifest, LanguageManifest
from langadapt.manifests.recipe import RecipeManifest
from langadapt.manifests.resource import Format, PathSource, Resource, Sources
from langadapt.registry.catalog import Catalog

if TYPE_CHECKING:
    from langadapt.plan import Request

# Formats of the resource names that shipped recipes use, for a language whose manifest does not list them.
STANDARD: dict[str, Format] = {
    "encoder": "encoder",
    "corpus": "text",
    "nli": "nli",
    "paraphrase": "paraphrase",
    "sts": "sts",
    "sts-dev": "sts",
    "sts-test": "sts",
    "pairs": "retrieval",
    "dictionary": "dictionary",
}


@dataclass
class RawStage:
    """One stage as written: its data, and where each of its keys stands."""

    name: str
    data: dict[str, Any]
    document: yaml.Document
    path: yaml.KeyPath
    recipe: str
    papers: list[str] = field(default_factory=list)

    def where(self, *keys: str | int) -> str:
        return self.document.where((*self.path, *keys))


@dataclass
class LanguageFacts:
    """A language as a plan uses it: values by name, for ``$lang.x``."""

    code: str
    name: str
    scripts: list[str]
    values: dict[str, Any]


def compose(request: Request, catalog: Catalog) -> tuple[LanguageFacts, list[RawStage]]:
    """Read the manifests a request names and substitute their values.

    Raises:
        LangadaptError: an unknown or malformed manifest, override or reference; several reported together.
    """
    lang_sets = [item for item in request.sets if item.startswith("lang.")]
    stage_sets = [item for item in request.sets if not item.startswith("lang.")]
    facts = _language(request, catalog, lang_sets)
    domain = _domain(request, catalog)
    if not any(item.startswith("lang.normalizer") for item in lang_sets):
        _normalizer(facts, domain)
    for name in _resource_paths(request.resources):
        if name not in STANDARD and name not in facts.values and name not in domain:
            known = [key for key, value in {**facts.values, **domain}.items() if isinstance(value, Resource)]
            raise PlanError(f"--resource {name}: there is no such resource", hint=did_you_mean(name, [*known, *STANDARD]))
    if not request.recipes:
        raise PlanError("no recipe given", hint="Name one with --recipe; 'langadapt list recipes' shows them.")
    stages: list[RawStage] = []
    for name in request.recipes:
        stages = _chain(stages, _recipe(name, catalog))
    for assignment in stage_sets:
        _assign_stage(stages, assignment)
    errors: list[LangadaptError] = []
    for stage in stages:
        try:
            stage.data = {key: _substitute(value, facts, domain, stage, (key,)) for key, value in stage.data.items()}
        except LangadaptError as error:
            errors.append(error)
    raise_all(errors)
    return facts, stages


def _recipe(name: str, catalog: Catalog) -> list[RawStage]:
    document = catalog.load("recipe", name)
    head: RecipeManifest = parse_manifest(RecipeManifest, document)
    papers = [head.paper] if head.paper else []
    return [RawStage(stage, dict(data), document, ("stages", stage), head.recipe, papers) for stage, data in head.stages.items()]


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
                problems.append(ManifestError(f"{problem.get('input')!r}: {problem['msg'].lower()}", where=where))
        raise_all(problems)
        raise


def _fields_at(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    if not path:
        return list(model.model_fields)
    if path[0] == "resources" and len(path) >= 2:
        inner: list[type[BaseModel]] = [Resource, Sources]
        return list(inner[min(len(path) - 2, 1)].model_fields)
    return []


def _normalizer(language: LanguageFacts, domain: dict[str, Any]) -> None:
    """A domain's normalizer serves where the language states none.

    Raises:
        PlanError: both state one.
    """
    theirs = domain.get("normalizer")
    if theirs is None or language.values.get("normalizer") == theirs:
        return
    if language.values.get("normalizer") is not None:
        raise PlanError(
            f"language '{language.code}' and the domain each state a normalizer",
            hint="Choose one: --set lang.normalizer=NAME.",
        )
    language.values["normalizer"] = theirs


def _language(request: Request, catalog: Catalog, sets: list[str]) -> LanguageFacts:
    if request.lang is None:
        return LanguageFacts("", "", [], {"encoder": request.base} if request.base else {})
    document = catalog.load("language", request.lang)
    for assignment in sets:
        path, value = _assignment(assignment)
        _assign(document.data, path[1:], value, assignment)
    manifest: LanguageManifest = parse_manifest(LanguageManifest, document)
    resources = _with_paths(request, dict(manifest.resources))
    values: dict[str, Any] = {
        "code": manifest.language,
        "name": manifest.name,
        "scripts": manifest.scripts,
        "related": manifest.related,
        "normalizer": manifest.normalizer,
        "evaluators": manifest.evaluators,
        **resources,
    }
    if request.base:
        values["encoder"] = request.base
    return LanguageFacts(manifest.language, manifest.name, manifest.scripts, values)


def _domain(request: Request, catalog: Catalog) -> dict[str, Any]:
    if request.domain is None:
        return {}
    manifest: DomainManifest = parse_manifest(DomainManifest, catalog.load("domain", request.domain))
    resources = _with_paths(request, dict(manifest.resources))
    return {"normalizer": manifest.normalizer, "evaluators": manifest.evaluators, **resources}


def _with_paths(request: Request, resources: dict[str, Any]) -> dict[str, Any]:
    """A manifest's resources with the user's own files in their places (``--resource``)."""
    for name, paths in _resource_paths(request.resources).items():
        if name in resources or name in STANDARD:
            resources[name] = _override(name, paths, resources)
    return resources


def _resource_paths(given: tuple[str, ...]) -> dict[str, list[str]]:
    """``--resource NAME=PATH`` by name; a name given twice reads both files."""
    found: dict[str, list[str]] = {}
    for item in given:
        name, equals, path = item.partition("=")
        if not equals or not name or not path:
            raise PlanError(f"--resource {item} is not NAME=PATH")
        found.setdefault(name, []).append(path)
    return found


def _override(name: str, paths: list[str], resources: Mapping[str, Any]) -> Resource:
    known = resources.get(name)
    shown = ", ".join("/".join(Path(path).parts[-2:]) for path in paths)
    # The user's file keeps the manifest's score range but none of its licence or column names.
    score_range = known.score_range if known else (0.0, 5.0)
    return Resource(
        name=name,
        format=known.format if known else STANDARD[name],
        sources=Sources(path=PathSource(paths=paths)),
        licence="not stated (local file)",
        origin=shown,
        score_range=score_range,
        prompt=known.prompt if known else "",
    )


def _chain(before: list[RawStage], after: list[RawStage]) -> list[RawStage]:
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


INPUT_KEYS = ("encoder", "encoders", "data", "teacher", "corpus", "tokenizer", "scores")


def _rename(key: str, value: Any, renamed: Mapping[str, str]) -> Any:
    if key not in INPUT_KEYS:
        return value
    if isinstance(value, list):
        return [_rename(key, item, renamed) for item in value]
    return renamed.get(value, value) if isinstance(value, str) else value


def _assignment(text: str) -> tuple[list[str], Any]:
    path, equals, value = text.partition("=")
    if not equals:
        raise PlanError(f"--set {text} is not KEY=VALUE")
    return path.split("."), yaml.parse(f"value: {value}", f"--set {text}").data["value"]


def _assign_stage(stages: list[RawStage], text: str) -> None:
    """Apply ``stages.NAME.key=value``; a stage's name may itself hold a dot (chained recipes)."""
    path, value = _assignment(text)
    if path[0] != "stages" or len(path) < 3:
        raise PlanError(f"--set {text}", hint="Write stages.STAGE.OPTION=VALUE or lang.KEY=VALUE.")
    by_name = {stage.name: stage for stage in stages}
    for split in (2, 3):
        name = ".".join(path[1:split])
        if name in by_name and len(path) > split:
            _assign(by_name[name].data, path[split:], value, text)
            return
    raise PlanError(f"--set {text}: there is no stage '{path[1]}'", hint=did_you_mean(path[1], by_name))


def _assign(data: dict[str, Any], path: list[str], value: Any, text: str) -> None:
    for key in path[:-1]:
        inner = data.get(key)
        if isinstance(inner, str):  # 'objective: mlm' grows options by becoming 'objective: {use: mlm}'
            inner = {"use": inner}
        if inner is not None and not isinstance(inner, dict):
            raise PlanError(f"--set {text}: '{key}' is a list; set it as a whole")
        data[key] = dict(inner or {})
        data = data[key]
    data[path[-1]] = value


def _substitute(value: Any, facts: LanguageFacts, domain: dict[str, Any], stage: RawStage, path: tuple[str | int, ...]) -> Any:
    if isinstance(value, dict):
        return {k: _substitute(v, facts, domain, stage, (*path, k)) for k, v in value.items()}
    if isinstance(value, list):
        items: list[Any] = []
        for i, item in enumerate(value):
            found = _substitute(item, facts, domain, stage, (*path, i))
            if isinstance(item, str) and item.startswith("$") and isinstance(found, list):
                items.extend(found)  # a list in a list's place: all its items
            else:
                items.append(found)
        return items
    if not isinstance(value, str) or not value.startswith("$"):
        return value
    scope, _, name = value[1:].partition(".")
    if scope == "lang":
        if not facts.code and name not in facts.values:
            raise PlanError(f"the recipe uses {value}", where=stage.where(*path), hint="Name a language with --lang.")
        return _value(value, name, facts.values, facts, domain, stage, path)
    if scope == "domain":
        if not domain:
            raise PlanError(f"the recipe uses {value}", where=stage.where(*path), hint="Name a domain with --domain.")
        return _value(value, name, domain, facts, domain, stage, path)
    raise PlanError(f"'{value}' is neither $lang.x nor $domain.x", where=stage.where(*path))


def _value(
    shown: str,
    name: str,
    values: Mapping[str, Any],
    facts: LanguageFacts,
    domain: dict[str, Any],
    stage: RawStage,
    path: tuple[str | int, ...],
) -> Any:
    if name not in values:
        owner = f"language '{facts.code}'" if shown.startswith("$lang") else "the domain"
        flag = "--base PATH_OR_HUB_ID" if name == "encoder" else f"--resource {name}=PATH"
        hint = f"Give one with {flag}." if name in STANDARD else did_you_mean(name, values)
        raise PlanError(f"{owner} states no '{name}' ({shown})", where=stage.where(*path), hint=hint)
    found = values[name]
    # Defaults of a manifest may refer to its own resources (evaluators: {data: $lang.sts-test}).
    return _substitute(found, facts, domain, stage, path) if isinstance(found, list | dict) else found
