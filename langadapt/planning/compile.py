"""Compile recipes, a language and overrides into a plan: everything validated, every stage keyed, nothing written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from langadapt.contracts.plan import Plan, PlannedStage, Request
from langadapt.errors import LangadaptError, PlanError, did_you_mean, raise_all
from langadapt.files import stable_hash
from langadapt.manifests.stage import Stage
from langadapt.planning.compose import compose
from langadapt.planning.facts import LanguageFacts
from langadapt.planning.keys import identity_of
from langadapt.planning.pinning import Pinner, pin_all
from langadapt.planning.provenance import check_licences, release_facts
from langadapt.planning.raw import RawStage
from langadapt.planning.typed import typed_stage
from langadapt.registry.catalog import Catalog
from langadapt.registry.registry import Registry
from langadapt.verbs import VERBS
from langadapt.verbs.rules import Draft


def compile_plan(request: Request, registry: Registry, catalog: Catalog) -> Plan:
    """Compile a request.

    Raises:
        LangadaptError: everything wrong with the request, reported together.
    """
    facts, raw = compose(request, catalog, registry)
    errors: list[LangadaptError] = []
    typed: list[tuple[RawStage, Stage]] = []
    for item in raw:
        try:
            typed.append((item, typed_stage(item)))
        except LangadaptError as error:
            errors.append(error)
    known = {item.name: item for item in raw}
    compiler = _Compiler(request, registry, facts, known, Pinner(request.sources, registry))
    planned: dict[str, PlannedStage] = {}
    for item, stage in typed:
        try:
            planned[item.name] = compiler.stage(item, stage, planned)
        except _Skip:
            continue
        except LangadaptError as error:
            errors.extend(getattr(error, "errors", [error]))
    if request.licence_policy == "permissive":
        errors += check_licences(planned.values())
    raise_all(errors)
    # A recipe is known by the name it gives itself, wherever its file lies.
    recipes = tuple(dict.fromkeys(item.recipe for item in raw))
    title = "-".join([facts.code or "any", *([request.domain.replace("/", "_").removesuffix(".yaml")] if request.domain else []), *recipes])
    return Plan(title, recipes, facts.code, request.domain, request.seed, tuple(planned.values()), tuple(facts.scripts))


class _Skip(Exception):
    """A stage that cannot be judged because an earlier one is already in error."""


@dataclass(frozen=True)
class _Compiler:
    """What the stages of one plan are compiled with."""

    request: Request
    registry: Registry
    facts: LanguageFacts
    known: Mapping[str, RawStage]
    pinner: Pinner

    def stage(self, item: RawStage, stage: Stage, planned: Mapping[str, PlannedStage]) -> PlannedStage:
        """One stage: inputs, options, components, pinned resources, the verb's rules, the key, in this order."""
        rules = VERBS[stage.do].rules
        draft = Draft(item.name, item.data, stage, {}, _inputs(item, stage, self.known, planned), planned, item.where)
        draft = replace(draft, stage=rules.settle_options(draft))
        slots = {name: _slot(item, draft.stage, name, kind, self.registry) for name, kind in stage.slots.items()}
        draft = replace(draft, stage=pin_all(draft.stage, item, self.pinner), slots=slots)
        draft = replace(draft, stage=rules.settle(draft))
        draft = replace(draft, slots={name: pin_all(value, item, self.pinner) for name, value in slots.items()})
        rules.check(draft)
        draft = replace(draft, inputs={**draft.inputs, **rules.reads(draft)})
        identity = {**identity_of(draft, self.request.seed), **rules.identity(draft)}
        release: dict[str, Any] = {}
        if stage.output == "Release":
            recipes = list(dict.fromkeys(raw.recipe for raw in self.known.values()))
            release = release_facts(draft, item.papers, recipes, self.facts, self.request)
            identity["facts"] = release
        key = stable_hash(identity)[:40]
        columns = rules.columns(draft)
        return PlannedStage(item.name, draft.stage, draft.slots, draft.inputs, identity, key, item.where(), columns, release)


def _inputs(item: RawStage, stage: Stage, known: Mapping[str, RawStage], planned: Mapping[str, PlannedStage]) -> dict[str, list[str]]:
    """Check that inputs name earlier stages of the right type."""
    found: dict[str, list[str]] = {}
    for role, types in stage.inputs.items():
        value = getattr(stage, role)
        names = [value] if isinstance(value, str) else list(value or [])
        for name in names:
            where = item.where(role)
            if name not in known:
                raise PlanError(f"stage '{item.name}' reads '{name}', which is no stage", where=where, hint=did_you_mean(name, known))
            if list(known).index(name) >= list(known).index(item.name):
                raise PlanError(
                    f"stage '{item.name}' reads '{name}', which stands later",
                    where=where,
                    hint="A stage reads earlier stages only: move it up.",
                )
            if name not in planned:
                raise _Skip
            output = planned[name].output
            if output not in types:
                raise PlanError(f"stage '{item.name}' wants {' or '.join(types)} as '{role}', but '{name}' leaves {output}", where=where)
        if names:
            found[role] = names
    return found


def _slot(item: RawStage, stage: Stage, name: str, kind: str, registry: Registry) -> Any:
    value = getattr(stage, name)
    shown = type(stage).model_fields[name].alias or name
    if value is None:
        return None
    if isinstance(value, list):
        return [registry.build(kind, slot, item.where(shown, i)) for i, slot in enumerate(value)]
    return registry.build(kind, value, item.where(shown))
