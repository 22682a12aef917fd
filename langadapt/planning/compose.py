"""Recipes, language, domain and overrides put together into raw stages, before any type is checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langadapt.errors import LangadaptError, PlanError, did_you_mean, raise_all
from langadapt.manifests.parse import parse_manifest
from langadapt.manifests.recipe import RecipeManifest
from langadapt.manifests.resource import Resource
from langadapt.planning.chaining import chain
from langadapt.planning.facts import (
    DomainFacts,
    LanguageFacts,
    apply_defaults,
    chain_normalizers,
    domain_facts,
    language_facts,
    use_domain_corpus,
)
from langadapt.planning.overrides import assign_stage, below, shown
from langadapt.planning.raw import RawStage
from langadapt.planning.references import substitute
from langadapt.planning.resource_names import STANDARD, standard
from langadapt.planning.translated import translate_pairs
from langadapt.registry.catalog import Catalog

if TYPE_CHECKING:
    from langadapt.contracts.plan import Request
    from langadapt.registry.registry import Registry


def compose(request: Request, catalog: Catalog, registry: Registry) -> tuple[LanguageFacts, list[RawStage]]:
    """Read the manifests a request names and substitute their values.

    Raises:
        LangadaptError: an unknown or malformed manifest, override or reference; several reported together.
    """
    _check_scopes(request)
    facts = language_facts(request, catalog)
    domain = domain_facts(request, catalog, facts.code)
    use_domain_corpus(facts, domain, request)
    if not any(path.startswith("lang.normalizer") for path in request.overrides):
        chain_normalizers(facts, domain.values)
    _check_resources(request, facts, domain)
    stages = _stages(request, catalog)
    translated = [translate_pairs(stage, facts, request, registry) for stage in stages]
    if request.translator is not None and not any(translated):
        raise PlanError(
            "--translator is given, but no stage translates",
            hint="Give pairs of another language: --resource nli-en=PATH, --resource sts-en=PATH.",
        )
    for stage in stages:
        apply_defaults(stage, domain)
    for path, value in request.overrides.items():
        if not path.startswith(("lang.", "domain.")):
            assign_stage(stages, path, value)
    errors: list[LangadaptError] = []
    for stage in stages:
        try:
            stage.data = {key: substitute(value, facts, domain, stage, (key,)) for key, value in stage.data.items()}
        except LangadaptError as error:
            errors.append(error)
    raise_all(errors)
    return facts, stages


def _check_scopes(request: Request) -> None:
    """Refuse overrides of a language or domain that is not named: they would change nothing."""
    for scope, named, option in (("lang", request.lang, "--lang"), ("domain", request.domain, "--domain")):
        for path, value in below(request.overrides, scope).items():
            if named is None:
                raise PlanError(f"{shown(path, value)}, and no {'language' if scope == 'lang' else scope} is named", hint=f"Add {option}.")


def _check_resources(request: Request, facts: LanguageFacts, domain: DomainFacts) -> None:
    """Refuse files for a resource that neither recipes nor manifests know."""
    for name in request.resources:
        if standard(name) is None and name not in facts.values and name not in domain.values:
            known = [key for key, value in {**facts.values, **domain.values}.items() if isinstance(value, Resource)]
            raise PlanError(f"--resource {name}: there is no such resource", hint=did_you_mean(name, [*known, *STANDARD]))


def _stages(request: Request, catalog: Catalog) -> list[RawStage]:
    """The stages of a request's recipes, chained."""
    if not request.recipes:
        raise PlanError("no recipe given", hint="Name one with --recipe; 'langadapt list recipes' shows them.")
    stages: list[RawStage] = []
    for name in request.recipes:
        stages = chain(stages, _recipe(name, catalog))
    return stages


def _recipe(name: str, catalog: Catalog) -> list[RawStage]:
    document = catalog.load("recipe", name)
    head: RecipeManifest = parse_manifest(RecipeManifest, document)
    papers = [head.paper] if head.paper else []
    return [RawStage(stage, dict(data), document, ("stages", stage), head.recipe, papers) for stage, data in head.stages.items()]
