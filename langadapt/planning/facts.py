"""Languages and domains as a plan uses them: values by name, for ``$lang.x`` and ``$domain.x``, the user's own files in their places."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langadapt.errors import PlanError
from langadapt.manifests.language import DomainManifest, LanguageManifest
from langadapt.manifests.parse import parse_manifest
from langadapt.manifests.resource import Resource
from langadapt.planning.overrides import assign, assign_all, below
from langadapt.planning.raw import RawStage
from langadapt.planning.resource_names import standard
from langadapt.registry.catalog import Catalog

if TYPE_CHECKING:
    from langadapt.contracts.plan import Request


@dataclass
class LanguageFacts:
    """A language as a plan uses it: values by name, for ``$lang.x``."""

    code: str
    name: str
    scripts: list[str]
    values: dict[str, Any]
    missing: dict[str, str] = field(default_factory=dict)
    """Resource that the manifest has no source of → how to come by it."""


@dataclass
class DomainFacts:
    """A domain as a plan uses it: values by name for ``$domain.x``, recipe defaults, and who else has what."""

    name: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, dict[str, Any]] = field(default_factory=dict)
    elsewhere: dict[str, list[str]] = field(default_factory=dict)
    """Resource → languages that the domain has it for."""
    missing: dict[str, str] = field(default_factory=dict)
    """Resource that the manifest has no source of → how to come by it."""


def language_facts(request: Request, catalog: Catalog) -> LanguageFacts:
    """The language of a request, the user's files and overrides in their places; without one, what the user gave.

    Raises:
        LangadaptError: an unknown or malformed manifest.
    """
    if request.lang is None:  # what the user gave may be enough
        own: dict[str, Any] = {}
        _own_files(request, own)
        files = {name: Resource(name=name, **facts) for name, facts in own["resources"].items()}
        return LanguageFacts("", "", [], {"normalizer": None, **files, **({"encoder": request.base} if request.base else {})})
    document = catalog.load("language", request.lang)
    _own_files(request, document.data)
    assign_all(document.data, below(request.overrides, "lang"))
    manifest: LanguageManifest = parse_manifest(LanguageManifest, document)
    values: dict[str, Any] = {
        "code": manifest.language,
        "name": manifest.name,
        "scripts": manifest.scripts,
        "related": manifest.related,
        "normalizer": manifest.normalizer,
        "translator": manifest.translator,
        "evaluators": manifest.evaluators,
        **manifest.resources,
    }
    if request.base:
        values["encoder"] = request.base
    return LanguageFacts(manifest.language, manifest.name, manifest.scripts, values, manifest.missing)


def chain_normalizers(language: LanguageFacts, domain: dict[str, Any]) -> None:
    """A domain's normalizer goes in front of the language's, or serves alone."""
    theirs, ours = domain.get("normalizer"), language.values.get("normalizer")
    if theirs is not None and theirs != ours:
        language.values["normalizer"] = theirs if ours is None else {"use": "chain", "steps": [theirs, ours]}


def domain_facts(request: Request, catalog: Catalog, lang: str) -> DomainFacts:
    """The domain of a request, with what it has for the language.

    Raises:
        LangadaptError: an unknown or malformed manifest.
    """
    if request.domain is None:
        return DomainFacts()
    document = catalog.load("domain", request.domain)
    _languages_own(request, document.data, lang)
    _own_files(request, document.data)
    assign_all(document.data, below(request.overrides, "domain"))
    manifest: DomainManifest = parse_manifest(DomainManifest, document)
    own = manifest.languages.get(lang)
    # What the user gave stands over what the domain has for the language, and that over what it has for all.
    theirs = {name: one for name, one in own.resources.items() if name not in request.resources} if own else {}
    evaluators = [*manifest.evaluators, *(own.evaluators if own else [])]
    resources = {name: one.model_copy(update={"asked": "domain.resources"}) for name, one in {**manifest.resources, **theirs}.items()}
    said = any(path.startswith("domain.normalizer") for path in request.overrides)
    normalizer = own.normalizer if own and own.normalizer is not None and not said else manifest.normalizer
    values = {"normalizer": normalizer, "evaluators": evaluators, **resources}
    elsewhere: dict[str, list[str]] = {}
    for code, part in manifest.languages.items():
        for name in part.resources:
            elsewhere.setdefault(name, []).append(code)
    missing = {**manifest.missing, **(own.missing if own else {})}
    return DomainFacts(manifest.domain, values, manifest.defaults, elsewhere, missing)


def use_domain_corpus(language: LanguageFacts, domain: DomainFacts, request: Request) -> None:
    """A domain's corpus stands in the language's place; a general one never passes for it."""
    if not domain.name or "corpus" in request.resources:
        return
    if "corpus" in domain.values:
        language.values["corpus"] = domain.values["corpus"]
    else:
        language.values.pop("corpus", None)


def _languages_own(request: Request, data: dict[str, Any], lang: str) -> None:
    """Move what a domain has for one language, and the user gives a file for, to the domain's own resources: it keeps its format."""
    part = (data.get("languages") or {}).get(lang) if isinstance(data.get("languages"), dict) else None
    own, resources = part.get("resources") if isinstance(part, dict) else None, data.setdefault("resources", {})
    if isinstance(own, dict) and isinstance(resources, dict):
        resources.update({name: own[name] for name in request.resources if name in own})


def _own_files(request: Request, data: dict[str, Any]) -> None:
    """Put the user's files (``--resource``) into a manifest, before ``--set`` says how they are read.

    A file keeps the manifest's format, score range and prompt, but none of its licence, column names or labels.
    """
    resources = data.setdefault("resources", {})
    if not isinstance(resources, dict):
        return  # the manifest's own error, told when it is parsed
    for name, paths in request.resources.items():
        known = resources.get(name) if isinstance(resources.get(name), dict) else None
        if known is None and standard(name) is None:
            continue
        kept = {key: known[key] for key in ("format", "score_range", "prompt") if key in known} if known else {"format": standard(name)}
        shown = ", ".join("/".join(Path(path).parts[-2:]) for path in paths)
        resources[name] = {**kept, "licence": "not stated (local file)", "origin": shown, "sources": {"path": {"paths": list(paths)}}}


def apply_defaults(stage: RawStage, domain: DomainFacts) -> None:
    """Put a domain's defaults for a recipe into one of its stages."""
    for path, value in domain.defaults.get(stage.recipe, {}).items():
        first, _, rest = path.partition(".")
        name, _, option = rest.partition(".")
        if first != "stages" or not option:
            raise PlanError(f"domain '{domain.name}': the default '{path}' is not stages.NAME.OPTION")
        if name == stage.name.removeprefix(f"{stage.recipe}."):
            assign(stage.data, option.split("."), value, path)
