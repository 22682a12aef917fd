"""What a release states about how it came to be, and licences in its way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from langadapt.contracts.plan import PlannedStage, Request
from langadapt.data.fetch import Pinned
from langadapt.errors import LangadaptError, PlanError
from langadapt.planning.facts import LanguageFacts
from langadapt.release.licences import forbids
from langadapt.verbs.rules import Draft


def release_facts(draft: Draft, papers: list[str], recipes: list[str], facts: LanguageFacts, request: Request) -> dict[str, Any]:
    """What the release card states about how the encoder came to be, as plain JSON."""
    planned = draft.planned
    chain = _ancestors([name for names in draft.inputs.values() for name in names], planned)
    resources: dict[str, dict[str, str]] = {}
    for name in chain:
        for resource in planned[name].resources():
            pinned: Pinned = resource.pinned
            # A path is where this machine keeps a file, not what it is: the card names the file alone.
            label = ", ".join(_short(path) for path in pinned.paths) or pinned.label
            resources[f"{resource.name}: {label}"] = {
                "name": resource.name,
                "from": label,
                "place": pinned.place,
                "licence": resource.licence,
                "origin": resource.origin,
                "note": resource.note,
                "hub": resource.sources.hub.id if resource.sources.hub else "",
            }
    return {
        "recipes": recipes,
        "papers": sorted(set(filter(None, papers))),
        "language": {"code": facts.code, "name": facts.name, "scripts": facts.scripts},
        "domain": request.domain,
        "given": _given(request),
        "encoder_stage": draft.inputs["encoder"][0],
        "stages": [_stage_facts(planned[name]) for name in chain],
        "resources": list(resources.values()),
        "engines": [dict(engine) for name in chain if (engine := planned[name].identity.get("engine"))],
    }


def _given(request: Request) -> dict[str, Any]:
    """What the user named with the command, without where this machine keeps it."""
    return {
        "lang": _as_named(request.lang),
        "recipes": [_as_named(name) for name in request.recipes],
        "base": _short(Path(request.base)) if request.base and Path(request.base).expanduser().exists() else request.base,
        "resources": [f"{name}={_short(Path(path))}" for name, paths in request.resources.items() for path in paths],
        "translator": request.translator,
    }


def _as_named(manifest: str | None) -> str | None:
    """A manifest by name or code; one of the user's own by its file, without where it is kept."""
    return Path(manifest).name if manifest and manifest.endswith((".yaml", ".yml")) else manifest


def _short(path: Path) -> str:
    return "/".join(path.parts[-2:])


def _stage_facts(stage: PlannedStage) -> dict[str, Any]:
    return {"name": stage.name, "key": stage.key, **{k: stage.identity[k] for k in ("do", "options", "slots", "inputs")}}


def _ancestors(names: list[str], planned: Mapping[str, PlannedStage]) -> list[str]:
    wanted, todo = set(names), list(names)
    while todo:
        for name in planned[todo.pop()].input_names():
            if name not in wanted:
                wanted.add(name)
                todo.append(name)
    return [name for name in planned if name in wanted]


def check_licences(stages: Iterable[PlannedStage]) -> list[LangadaptError]:
    """Every resource and engine whose licence stands in the way of redistributing the release (``--licence-policy permissive``)."""
    found: dict[str, LangadaptError] = {}
    for stage in stages:
        used = [(f"resource '{resource.name}'", resource.licence) for resource in stage.resources()]
        engine = stage.identity.get("engine")
        if engine and engine["binding"]:
            used.append((f"translator '{engine['name']}'", engine["licence"]))
        for what, licence in used:
            why = forbids(licence)
            if why and what not in found:
                hint = "Choose another source, state its licence in a manifest, or leave --licence-policy out."
                found[what] = PlanError(f"{what} {why} ({licence})", where=stage.where, hint=hint)
    return list(found.values())
