"""Compile recipes, a language and overrides into a plan: everything validated, every stage keyed, nothing written.

Keys exist before anything runs.  A key hashes the stage's verb and version, its components with their keyed
options, the keys of its inputs, pinned sources, precision and seed; not stage names, paths or devices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from langadapt.artifacts.fetch import Pinned, pin_files, resolve_revision
from langadapt.artifacts.files import stable_hash
from langadapt.artifacts.licences import forbids
from langadapt.compose import LanguageFacts, RawStage, compose
from langadapt.contracts.component import Component
from langadapt.contracts.data import Role, Source, TranslatedPairReader
from langadapt.contracts.plan import Plan, PlannedStage, Request
from langadapt.contracts.results import Exporter
from langadapt.contracts.training import Objective, Sampler
from langadapt.errors import LangadaptError, PlanError, did_you_mean, raise_all
from langadapt.manifests.recipe import STAGES, Annotate, Collect, Load, Pair, Stage, Train
from langadapt.manifests.resource import HubSource, PathSource, Resource, Sources
from langadapt.modeling.precision import resolve_precision
from langadapt.registry.catalog import Catalog
from langadapt.registry.registry import Registry, option_error

SCHEMA = 1
"""Raise to invalidate every stored artifact (the meaning of keys changed)."""


def compile_plan(request: Request, registry: Registry, catalog: Catalog) -> Plan:
    """Compile a request.

    Raises:
        LangadaptError: everything wrong with the request, reported together.
    """
    facts, raw = compose(request, catalog)
    errors: list[LangadaptError] = []
    typed: list[tuple[RawStage, Stage]] = []
    for item in raw:
        try:
            typed.append((item, _typed(item)))
        except LangadaptError as error:
            errors.append(error)
    known = {item.name: item for item in raw}
    pinner = Pinner(request.sources, registry)
    planned: dict[str, PlannedStage] = {}
    for item, stage in typed:
        try:
            planned[item.name] = _plan_stage(item, stage, known, planned, request, registry, pinner, facts)
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


def _typed(item: RawStage) -> Stage:
    verb = item.data.get("do")
    if not isinstance(verb, str) or verb not in STAGES:
        raise PlanError(
            f"stage '{item.name}' does '{verb}', which is no verb", where=item.where("do"), hint=did_you_mean(str(verb), STAGES)
        )
    model = STAGES[verb]
    data = {k: _as_encoder(v) if (verb, k) == ("load", "source") and isinstance(v, str) else v for k, v in item.data.items()}
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems: list[LangadaptError] = []
        for problem in error.errors():
            single = ValidationError.from_exception_data(error.title, [_line(problem)])
            location = item.where(*problem["loc"])
            known = [info.alias or name for name, info in model.model_fields.items()]
            problems.append(option_error(single, f"stage '{item.name}'", known, location))
        raise_all(problems)
        raise


def _line(problem: Any) -> Any:
    """A pydantic complaint in the form its own constructor takes back."""
    from pydantic_core import PydanticCustomError

    if problem["type"] in ("extra_forbidden", "missing"):
        kind: Any = problem["type"]
    else:
        kind = PydanticCustomError(problem["type"], problem["msg"].replace("{", "(").replace("}", ")"))
    return {"type": kind, "loc": problem["loc"], "input": problem.get("input")}


def _as_encoder(source: str) -> Resource:
    """A checkpoint named outright in a recipe or by ``--base``: a folder that exists, else a Hub id."""
    path = Path(source).expanduser()
    if path.exists() or source.startswith((".", "/", "~")):
        # Where this machine keeps a base is nobody's business; its folder's name is.
        return Resource(name="encoder", format="encoder", sources=Sources(path=PathSource(paths=[source])), origin=path.absolute().name)
    return Resource(name="encoder", format="encoder", sources=Sources(hub=HubSource(id=source)), origin=source)


def _plan_stage(
    item: RawStage,
    stage: Stage,
    known: Mapping[str, RawStage],
    planned: Mapping[str, PlannedStage],
    request: Request,
    registry: Registry,
    pinner: Pinner,
    facts: LanguageFacts,
) -> PlannedStage:
    inputs = _inputs(item, stage, known, planned)
    if isinstance(stage, Load) and (stage.source is None) == (stage.encoder is None):
        raise PlanError(f"stage '{item.name}' needs either 'source' or 'encoder'", where=item.where())
    if isinstance(stage, Load) and stage.source is not None and stage.source.format != "encoder":
        raise PlanError(
            f"stage '{item.name}' loads '{stage.source.name}', which is {stage.source.format} and no encoder", where=item.where("source")
        )
    if isinstance(stage, Train):
        if (stage.epochs is None) == (stage.steps is None):
            raise PlanError(
                f"stage '{item.name}' needs either 'epochs' or 'steps'{', and has both' if stage.steps else ''}",
                where=item.where(),
                hint=f"Unset one: --set stages.{item.name}.epochs=null" if stage.steps else None,
            )
        if stage.keep == "best" and stage.validation is None and stage.holdout == 0:
            raise PlanError(
                f"stage '{item.name}' keeps the best checkpoint but measures none",
                where=item.where("keep"),
                hint="Give 'validation' or 'holdout'.",
            )
        stage = stage.model_copy(update={"precision": resolve_precision(stage.precision)})
    slots = {name: _slot(item, stage, name, kind, registry) for name, kind in stage.slots.items()}
    stage = _pin_all(stage, item, pinner)
    if isinstance(stage, Train):
        stage = stage.model_copy(update={"interpolate": _interpolation(item, stage, slots, planned[inputs["data"][0]])})
    slots = {name: _pin_all(value, item, pinner) for name, value in slots.items()}
    _check_columns(item, slots, inputs, planned)
    _check_subjects(item, slots, inputs, planned)
    _check_light(item, stage, slots, inputs, planned)
    engine = _engine(item, slots)
    identity = _identity(stage, slots, inputs, planned, request.seed)
    if engine is not None:
        identity["engine"] = engine
    recipes = list(dict.fromkeys(raw.recipe for raw in known.values()))
    release = _release_facts(item, stage, inputs, planned, facts, request, recipes) if stage.output == "Release" else {}
    if release:
        identity["facts"] = release
    columns = _columns(item, stage, slots, inputs, planned)
    return PlannedStage(item.name, stage, slots, inputs, identity, stable_hash(identity)[:40], item.where(), columns, release)


GENERATED_SHARE = 0.5
"""Share of the trained weights where the data are generated: a grammar teaches a little, and forgetting costs more."""


def _interpolation(item: RawStage, stage: Train, slots: Mapping[str, Any], data: PlannedStage) -> float:
    """How much of the trained weights is kept.

    Raises:
        PlanError: a share is asked for of an adapter, which stands beside weights that do not change.
    """
    light = slots["adaptation"].light
    if light and stage.interpolate not in (None, 1.0):
        raise PlanError(
            f"stage '{item.name}' interpolates weights, and '{slots['adaptation'].name}' leaves those of the base as they are",
            where=item.where("interpolate"),
            hint="Leave 'interpolate' out.",
        )
    if stage.interpolate is not None or light or slots["objective"].leaves == "Scorer":
        return stage.interpolate or 1.0
    return GENERATED_SHARE if any(resource.made == "generated" for resource in data.resources()) else 1.0


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


def _check_columns(item: RawStage, slots: Mapping[str, Any], inputs: Mapping[str, list[str]], planned: Mapping[str, PlannedStage]) -> None:
    """Whether an objective can train on the data: columns by name, and each of the sort that it reads.

    Raises:
        PlanError: a column is missing, or holds something else.
    """
    objective: Objective | None = slots.get("objective")
    if objective is None:
        return
    data = planned[inputs["data"][0]]
    have = data.columns
    if not any(set(wanted) <= set(have) for wanted in objective.columns):
        sets = " or ".join("(" + ", ".join(wanted) + ")" for wanted in objective.columns)
        raise PlanError(
            f"objective '{objective.name}' trains on {sets}, but '{data.name}' has ({', '.join(sorted(have))})",
            where=item.where("objective"),
        )
    _check_sampler(item, slots, data)
    if objective.needs_teacher != ("teacher" in inputs):
        asks = f"stage '{item.name}' names a teacher, and objective '{objective.name}' asks none"
        if objective.needs_teacher:
            asks = f"objective '{objective.name}' asks a teacher at every step, and stage '{item.name}' names none"
        raise PlanError(asks, where=item.where("teacher" if "teacher" in inputs else "objective"))
    wanted = next(one for one in objective.columns if set(one) <= set(have))
    wrong = next((name for name, role in wanted.items() if have[name] is not role), None)
    if wrong is not None:
        raise PlanError(
            f"objective '{objective.name}' reads '{wrong}' as {wanted[wrong].value}, but '{data.name}' holds {have[wrong].value} there",
            where=item.where("objective"),
        )


def _check_sampler(item: RawStage, slots: Mapping[str, Any], data: PlannedStage) -> None:
    """Whether the data have the columns that a sampler looks at.

    Raises:
        PlanError: they have not, or the objective cuts texts into several rows, which those columns are not of.
    """
    sampler: Sampler | None = slots.get("sampler")
    objective: Objective = slots["objective"]
    for name in sampler.reads() if sampler is not None else ():
        assert sampler is not None
        if name not in data.columns:
            raise PlanError(
                f"the sampler '{sampler.name}' looks at '{name}', and '{data.name}' has ({', '.join(sorted(data.columns))})",
                where=item.where("sampler"),
                hint="Add it in an annotate stage before this one.",
            )
        if objective.long_texts == "split":
            raise PlanError(
                f"the sampler '{sampler.name}' looks at '{name}' of whole texts, and '{objective.name}' cuts long ones into several",
                where=item.where("sampler"),
            )


def _columns(
    item: RawStage, stage: Stage, slots: Mapping[str, Any], inputs: Mapping[str, list[str]], planned: Mapping[str, PlannedStage]
) -> dict[str, Role]:
    """The columns that a stage of data leaves, and what they are.

    Raises:
        PlanError: an annotator reads a column that is not there or holds something else, or adds one that is.
    """
    if isinstance(stage, Pair):
        return dict(slots["source"].columns)
    if isinstance(stage, Collect):
        return {"text": Role.TEXT}
    if not isinstance(stage, Annotate):
        return {}
    found = dict(planned[inputs["data"][0]].columns)
    for annotator in slots["annotators"]:
        for name, role in annotator.reads().items():
            if found.get(name) is not role:
                has = f"holds {found[name].value} there" if name in found else f"has ({', '.join(found)})"
                raise PlanError(
                    f"'{annotator.name}' reads '{name}' as {role.value}, but '{inputs['data'][0]}' {has}",
                    where=item.where("annotators"),
                    hint=f"Name another column: {{use: {annotator.name}, of: COLUMN}}." if "of" in type(annotator).model_fields else None,
                )
        taken = next((name for name in annotator.adds() if name in found), None)
        if taken is not None:
            raise PlanError(f"'{annotator.name}' would add '{taken}', which the data already have", where=item.where("annotators"))
        found |= annotator.adds()
    return found


def _check_subjects(item: RawStage, slots: Mapping[str, Any], inputs: Mapping[str, list[str]], planned: Mapping[str, PlannedStage]) -> None:
    """Whether what is scored, trained or released is what the components of the stage take.

    Raises:
        PlanError: a scorer where an encoder is meant, or the other way round.
    """
    sorts = {name: planned[name].output for role in ("encoder", "encoders") for name in inputs.get(role, [])}
    for name, sort in sorts.items():
        is_one = f"'{name}' is {'an' if sort == 'Encoder' else 'a'} {sort}"
        for evaluator in slots.get("evaluators", []):
            if sort not in evaluator.subjects:
                raise PlanError(
                    f"the evaluator '{evaluator.name}' scores {' or '.join(sorted(evaluator.subjects))}, and {is_one}",
                    where=item.where("evaluators"),
                )
        for exporter in slots.get("exporters", []):
            if sort != exporter.subject:
                raise PlanError(
                    f"the exporter '{exporter.name}' writes {exporter.subject}s, and {is_one}",
                    where=item.where("exporters"),
                )
        objective = slots.get("objective")
        if objective is not None and sort == "Scorer" and objective.leaves != "Scorer":
            raise PlanError(f"'{name}' is a scorer, and '{objective.name}' trains encoders", where=item.where("encoder"))
    if (objective := slots.get("objective")) is not None and objective.leaves == "Scorer":
        wrong = [role for role in ("pooler", "validation") if slots.get(role) is not None]
        wrong += [name for name in ("holdout", "gradient_checkpointing", "interpolate") if item.data.get(name)]
        wrong += ["keep"] if item.data.get("keep") == "best" else []
        if slots["adaptation"].light or slots["adaptation"].new_rows:
            wrong.append("adaptation")
        if wrong:
            raise PlanError(f"'{objective.name}' leaves a scorer, which takes no {' and no '.join(wrong)}", where=item.where(wrong[0]))


def _check_light(
    item: RawStage, stage: Stage, slots: Mapping[str, Any], inputs: Mapping[str, list[str]], planned: Mapping[str, PlannedStage]
) -> None:
    """What an adapter on a base can be used for: further training of the same kind, scoring, and release.

    Raises:
        PlanError: a stage wants whole weights of an adapter that has no merged form, or an adapter where there is none.
    """
    for role in ("teacher", "encoders") if stage.do in ("train", "merge") else ():
        bound = next((one for one in map(planned.__getitem__, inputs.get(role, [])) if one.light()), None)
        if bound is not None and not bound.slots["adaptation"].mergeable:
            raise PlanError(
                f"stage '{item.name}' needs the whole weights of '{bound.name}', and its adapter cannot be merged into the base",
                where=item.where(role),
                hint="Name an encoder of whole weights, or train LoRA, which can be merged.",
            )
    carriers = [planned[name] for name in inputs.get("encoder", []) if planned[name].light()]
    before: Any = carriers[0].slots["adaptation"] if carriers else None
    if stage.do == "train":
        own = slots["adaptation"]
        if before is not None and own != before:
            raise PlanError(
                f"'{carriers[0].name}' carries an adapter of '{before.name}', and this stage trains '{own.name}' or other options of it",
                where=item.where("adaptation"),
                hint="Continue with the same adaptation and options, or start from the base.",
            )
        return
    _check_exporters(item, slots.get("exporters", []), inputs)
    alone = [exporter.name for exporter in slots.get("exporters", []) if exporter.adapter_only]
    if alone and before is None:
        raise PlanError(
            f"the exporter '{alone[0]}' writes an adapter alone, but '{inputs['encoder'][0]}' has trained none",
            where=item.where("exporters"),
            hint="Train with a light adaptation (bottleneck, lora …), or export 'sentence-transformers'.",
        )
    whole = stage.do != "export" or len(alone) < len(slots["exporters"])
    if alone and whole:
        others = ", ".join(f"'{exporter.name}'" for exporter in slots["exporters"] if exporter.name not in alone)
        raise PlanError(
            f"the exporter '{alone[0]}' writes an adapter alone, and {others} whole weights",
            where=item.where("exporters"),
            hint="Release one of them, or each in an export stage of its own.",
        )
    if before is not None and whole and not before.mergeable:
        raise PlanError(
            f"stage '{item.name}' needs the whole weights of '{carriers[0].name}', and '{before.name}' cannot be merged into its base",
            where=item.where("exporters" if stage.do == "export" else "encoder"),
            hint="Release the adapter alone with exporters: [adapter], or train LoRA, which can be merged.",
        )


def _check_exporters(item: RawStage, exporters: list[Exporter], inputs: Mapping[str, list[str]]) -> None:
    """Whether exporters have what they read, and can stand beside one another.

    Raises:
        PlanError: one needs texts that the stage does not name, or writes an encoder of its own beside another exporter.
    """
    for exporter in exporters:
        if exporter.needs_texts and "data" not in inputs:
            raise PlanError(
                f"the exporter '{exporter.name}' reads texts, and stage '{item.name}' names none",
                where=item.where("exporters"),
                hint="Give the stage 'data': the corpus or pairs that the encoder was made for.",
            )
        if exporter.makes_another and len(exporters) > 1:
            raise PlanError(
                f"the exporter '{exporter.name}' writes another encoder than the stage's, so it must be the only one",
                where=item.where("exporters"),
                hint="Release the other form in an export stage of its own.",
            )


def _engine(item: RawStage, slots: Mapping[str, Any]) -> dict[str, Any] | None:
    """What translates in a stage: part of its identity, for its name and licence stand in every row.

    Raises:
        PlanError: no translator is named, or it cannot serve the pair here.
    """
    source, translator = slots.get("source"), slots.get("translator")
    if not isinstance(source, TranslatedPairReader):
        return None
    target = source.target_language
    pair = f"{source.source_language} → {target}"
    ask = f"'langadapt translators --from {source.source_language} --to {target}' lists what can serve it here."
    if translator is None:
        raise PlanError(
            f"stage '{item.name}' translates {pair} and names no translator", where=item.where(), hint=f"Add --translator. {ask}"
        )
    offer = translator.offer(source.source_language, target)
    if not offer.ready:
        raise PlanError(f"the translator '{translator.name}' cannot serve {pair}: {offer.needs}", where=item.where("translator"), hint=ask)
    return {
        "name": offer.name,
        "licence": offer.licence,
        "binding": offer.binding,
        "fingerprint": offer.fingerprint,
        "data": source.data.licence,
    }


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


def _identity(
    stage: Stage,
    slots: Mapping[str, Any],
    inputs: Mapping[str, list[str]],
    planned: Mapping[str, PlannedStage],
    seed: int,
) -> dict[str, Any]:
    skip = {*stage.slots, *stage.inputs, "do", "source"}
    options = dict(stage.model_dump(mode="json", exclude=skip).items())
    source = getattr(stage, "source", None)
    if isinstance(source, Resource):
        options["source"] = source.identity()
    identity: dict[str, Any] = {
        "schema": SCHEMA,
        "do": stage.do,
        "version": stage.version,
        "seed": seed,
        "options": options,
        "slots": {k: _identities(v) for k, v in slots.items() if v is not None},
        "inputs": {role: [planned[name].key for name in names] for role, names in inputs.items()},
    }
    if stage.do == "evaluate":  # scores are labelled with the names of the encoders, so here names are content
        identity["labels"] = list(inputs["encoders"])
    return identity


def _identities(value: Any) -> Any:
    return [item.identity() for item in value] if isinstance(value, list) else value.identity()


def _pin_all(value: Any, item: RawStage, pinner: Pinner) -> Any:
    """A copy of a model, component or list in which every resource is pinned."""
    if isinstance(value, Resource):
        return pinner.pin(value, item)
    if isinstance(value, list):
        return [_pin_all(one, item, pinner) for one in value]
    if isinstance(value, BaseModel):
        changed = {}
        for name in type(value).model_fields:
            old = getattr(value, name)
            if isinstance(old, Resource | list | Component) and (new := _pin_all(old, item, pinner)) != old:
                changed[name] = new
        return value.model_copy(update=changed) if changed else value
    return value


class Pinner:
    """Chooses each resource's source and pins its content, once a resource."""

    def __init__(self, wanted: str | None, registry: Registry) -> None:
        self.wanted = wanted
        self.registry = registry
        self._done: dict[str, Resource] = {}

    def pin(self, resource: Resource, item: RawStage) -> Resource:
        """The resource with `pinned` set.

        Raises:
            LangadaptError: the wanted source does not exist, a path is missing, or the Hub cannot be reached.
        """
        if resource.pinned is not None:
            return resource
        memo = stable_hash(resource.model_dump(mode="json"))
        if memo not in self._done:
            pinned = self._pinned(resource, item.where())
            stated = resource.from_hub() if pinned.place == "hub" else resource
            self._done[memo] = stated.model_copy(update={"pinned": pinned})
        return self._done[memo]

    def _pinned(self, resource: Resource, where: str) -> Pinned:
        place = self._place(resource, where)
        if place == "path":
            assert resource.sources.path is not None
            paths = tuple(Path(p).expanduser().absolute() for p in resource.sources.path.paths)
            return pin_paths(resource, paths, where)
        if place == "hub":
            hub = resource.sources.hub
            assert hub is not None
            commit = resolve_revision(resource, hub.id, hub.revision)
            identity: dict[str, Any] = {"hub": hub.id, "revision": commit}
            if hub.files:
                identity["files"] = hub.files
            return Pinned("hub", identity, f"{hub.id}@{commit[:12]}", hub_id=hub.id, revision=commit, files=tuple(hub.files))
        assert resource.sources.starter is not None
        component = self.registry.make(Source, resource.sources.starter, where)
        identity = {"component": component.identity(), "fingerprint": component.fingerprint()}
        return Pinned("starter", identity, f"starter: {component.name}", component=component)

    def _place(self, resource: Resource, where: str) -> str:
        names = resource.sources.names()
        if "path" in names:  # an explicit --resource or --base wins over --sources
            return "path"
        if self.wanted is None:
            return names[0]
        if self.wanted not in names:
            raise PlanError(
                f"resource '{resource.name}' has no {self.wanted} source (it has: {', '.join(names)})",
                where=where,
                hint=f"Give your own with --resource {resource.name}=PATH, or choose --sources {names[0]}.",
            )
        return self.wanted


def pin_paths(resource: Resource, paths: tuple[Path, ...], where: str) -> Pinned:
    """Pin local files by their bytes.

    Raises:
        PlanError: a path does not exist.
        DataError: a file cannot be read, is a pipe or a device, or changes while it is read.
    """
    for path in paths:
        if not path.exists():
            raise PlanError(
                f"resource '{resource.name}': there is no file or folder {path}",
                where=where,
                hint="Check the path; relative paths start at the current folder.",
            )
    identity, stamps = pin_files(paths)
    return Pinned("path", identity, ", ".join(str(path) for path in paths), paths=paths, stamps=stamps)


def _release_facts(
    item: RawStage,
    stage: Stage,
    inputs: Mapping[str, list[str]],
    planned: Mapping[str, PlannedStage],
    facts: LanguageFacts,
    request: Request,
    recipes: list[str],
) -> dict[str, Any]:
    """What the release card states about how the encoder came to be, as plain JSON."""
    chain = _ancestors([name for names in inputs.values() for name in names], planned)
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
        "papers": sorted(set(filter(None, item.papers))),
        "language": {"code": facts.code, "name": facts.name, "scripts": facts.scripts},
        "domain": request.domain,
        "given": _given(request),
        "encoder_stage": inputs["encoder"][0],
        "stages": [_stage_facts(planned[name]) for name in chain],
        "resources": list(resources.values()),
        "engines": [dict(engine) for name in chain if (engine := planned[name].identity.get("engine"))],
    }


def _given(request: Request) -> dict[str, Any]:
    """What the user named with the command, without where this machine keeps it."""
    named = [item.partition("=") for item in request.resources]
    return {
        "lang": _as_named(request.lang),
        "recipes": [_as_named(name) for name in request.recipes],
        "base": _short(Path(request.base)) if request.base and Path(request.base).expanduser().exists() else request.base,
        "resources": [f"{name}={_short(Path(path))}" for name, _, path in named],
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
