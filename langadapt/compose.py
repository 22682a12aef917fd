"""Recipes, language, domain and overrides put together into raw stages, before any type is checked.

Substitution replaces whole values only: ``$lang.nli`` becomes the language's resource ``nli``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from langadapt.errors import LangadaptError, ManifestError, PlanError, did_you_mean, raise_all
from langadapt.manifests import yaml
from langadapt.manifests.language import LANGUAGE, NAME, RESOURCE, SCRIPT, DomainManifest, LanguageManifest
from langadapt.manifests.recipe import STAGES, RecipeManifest
from langadapt.manifests.resource import Format, Resource, Sources
from langadapt.registry.catalog import Catalog

if TYPE_CHECKING:
    from langadapt.contracts.plan import Request
    from langadapt.registry.registry import Registry

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
    "vectors": "vectors",
    "parallel": "parallel",
    "classification": "classification",
    "classification-test": "classification",
    "tags": "tags",
    "tags-test": "tags",
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
    domain_sets = [item for item in stage_sets if item.startswith("domain.")]
    stage_sets = [item for item in stage_sets if item not in domain_sets]
    facts = _language(request, catalog, lang_sets)
    domain = _domain(request, catalog, domain_sets, facts.code)
    _domain_corpus(facts, domain, request)
    if not any(item.startswith("lang.normalizer") for item in lang_sets):
        _normalizer(facts, domain.values)
    for name in _resource_paths(request.resources):
        if standard(name) is None and name not in facts.values and name not in domain.values:
            known = [key for key, value in {**facts.values, **domain.values}.items() if isinstance(value, Resource)]
            raise PlanError(f"--resource {name}: there is no such resource", hint=did_you_mean(name, [*known, *STANDARD]))
    if not request.recipes:
        raise PlanError("no recipe given", hint="Name one with --recipe; 'langadapt list recipes' shows them.")
    stages: list[RawStage] = []
    for name in request.recipes:
        stages = _chain(stages, _recipe(name, catalog))
    translated = [_translate(stage, facts, request) for stage in stages]
    if request.translator is not None and not any(translated):
        raise PlanError(
            "--translator is given, but no stage translates",
            hint="Give pairs of another language: --resource nli-en=PATH, --resource sts-en=PATH.",
        )
    for stage in stages:
        _defaults(stage, domain)
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
        if verb not in STAGES:
            what = f"stage '{name}' does '{verb}', which is no verb"
            errors.append(PlanError(what, where=document.where((*where, "do")), hint=did_you_mean(verb, STAGES)))
            continue
        model = STAGES[verb]
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


def _normalizer(language: LanguageFacts, domain: dict[str, Any]) -> None:
    """A domain's normalizer goes in front of the language's, or serves alone."""
    theirs, ours = domain.get("normalizer"), language.values.get("normalizer")
    if theirs is not None and theirs != ours:
        language.values["normalizer"] = theirs if ours is None else {"use": "chain", "steps": [theirs, ours]}


def _language(request: Request, catalog: Catalog, sets: list[str]) -> LanguageFacts:
    if request.lang is None:  # what the user gave may be enough
        own: dict[str, Any] = {}
        _own_files(request, own)
        files = {name: Resource(name=name, **facts) for name, facts in own["resources"].items()}
        return LanguageFacts("", "", [], {"normalizer": None, **files, **({"encoder": request.base} if request.base else {})})
    document = catalog.load("language", request.lang)
    _own_files(request, document.data)
    for assignment in sets:
        path, value = _assignment(assignment)
        _assign(document.data, path[1:], value, assignment)
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
    return LanguageFacts(manifest.language, manifest.name, manifest.scripts, values)


@dataclass
class DomainFacts:
    """A domain as a plan uses it: values by name for ``$domain.x``, recipe defaults, and who else has what."""

    name: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, dict[str, Any]] = field(default_factory=dict)
    elsewhere: dict[str, list[str]] = field(default_factory=dict)
    """Resource → languages that the domain has it for."""


def _domain(request: Request, catalog: Catalog, sets: list[str], lang: str) -> DomainFacts:
    if request.domain is None:
        return DomainFacts()
    document = catalog.load("domain", request.domain)
    _languages_own(request, document.data, lang)
    _own_files(request, document.data)
    for assignment in sets:
        path, value = _assignment(assignment)
        _assign(document.data, path[1:], value, assignment)
    manifest: DomainManifest = parse_manifest(DomainManifest, document)
    own = manifest.languages.get(lang)
    given = _resource_paths(request.resources)
    # What the user gave stands over what the domain has for the language, and that over what it has for all.
    theirs = {name: one for name, one in own.resources.items() if name not in given} if own else {}
    evaluators = [*manifest.evaluators, *(own.evaluators if own else [])]
    resources = {name: one.model_copy(update={"asked": "domain.resources"}) for name, one in {**manifest.resources, **theirs}.items()}
    values = {"normalizer": manifest.normalizer, "evaluators": evaluators, **resources}
    elsewhere: dict[str, list[str]] = {}
    for code, part in manifest.languages.items():
        for name in part.resources:
            elsewhere.setdefault(name, []).append(code)
    return DomainFacts(manifest.domain, values, manifest.defaults, elsewhere)


def _domain_corpus(language: LanguageFacts, domain: DomainFacts, request: Request) -> None:
    """A domain's corpus stands in the language's place; a general one never passes for it."""
    if not domain.name or "corpus" in _resource_paths(request.resources):
        return
    if "corpus" in domain.values:
        language.values["corpus"] = domain.values["corpus"]
    else:
        language.values.pop("corpus", None)


def standard(name: str) -> Format | None:
    """The format of a resource name that shipped recipes use, also of one in another language (``nli-en``)."""
    return STANDARD.get(name) or (STANDARD.get(found[1]) if (found := IN_ANOTHER.fullmatch(name)) else None)


FORMS: dict[Format, str] = {
    "nli": "premise, hypothesis, label (entailment, neutral, contradiction)",
    "paraphrase": "sentence1, sentence2, label (P, NP)",
    "sts": "sentence1, sentence2, score (0 to 5)",
    "retrieval": "question and answer, or a BEIR folder",
    "classification": "text, label",
    "tags": "a word and its tag a line, an empty line after each sentence",
    "text": "one document a line",
}
"""What a file of a format holds, in a few words."""


def _form(name: str) -> str:
    """How a file for a resource looks, and that pairs can be translated."""
    found = standard(name)
    shape = f" It is a table or text: {FORMS[found]}; see README, 'With your data'." if found in FORMS else ""
    if found in ("nli", "sts") and name in ("nli", "sts"):
        shape += f" Or translate another language's: --resource {name}-en=PATH --translator NAME (docs/howto/translation.md)."
    return shape


IN_ANOTHER = re.compile(r"(.+)-([a-z]{2,3})")


def _languages_own(request: Request, data: dict[str, Any], lang: str) -> None:
    """Move what a domain has for one language, and the user gives a file for, to the domain's own resources: it keeps its format."""
    part = (data.get("languages") or {}).get(lang) if isinstance(data.get("languages"), dict) else None
    own, resources = part.get("resources") if isinstance(part, dict) else None, data.setdefault("resources", {})
    if isinstance(own, dict) and isinstance(resources, dict):
        resources.update({name: own[name] for name in _resource_paths(request.resources) if name in own})


def _own_files(request: Request, data: dict[str, Any]) -> None:
    """Put the user's files (``--resource``) into a manifest, before ``--set`` says how they are read.

    A file keeps the manifest's format, score range and prompt, but none of its licence, column names or labels.
    """
    resources = data.setdefault("resources", {})
    if not isinstance(resources, dict):
        return  # the manifest's own error, told when it is parsed
    for name, paths in _resource_paths(request.resources).items():
        known = resources.get(name) if isinstance(resources.get(name), dict) else None
        if known is None and standard(name) is None:
            continue
        kept = {key: known[key] for key in ("format", "score_range", "prompt") if key in known} if known else {"format": standard(name)}
        shown = ", ".join("/".join(Path(path).parts[-2:]) for path in paths)
        resources[name] = {**kept, "licence": "not stated (local file)", "origin": shown, "sources": {"path": {"paths": list(paths)}}}


def _resource_paths(given: tuple[str, ...]) -> dict[str, list[str]]:
    """``--resource NAME=PATH`` by name; a name given twice reads both files."""
    found: dict[str, list[str]] = {}
    for item in given:
        name, equals, path = item.partition("=")
        if not equals or not name or not path:
            raise PlanError(f"--resource {item} is not NAME=PATH")
        found.setdefault(name, []).append(path)
    return found


def _translate(stage: RawStage, facts: LanguageFacts, request: Request) -> bool:
    """Turn a stage that reads pairs which the language lacks into one that translates another language's; True if it now does.

    ``{use: nli, data: $lang.nli}`` becomes ``translated-nli`` on ``nli-en`` where there is no ``nli``, or where the user gave
    ``nli-en`` and no ``nli``.
    """
    source = stage.data.get("source")
    if stage.data.get("do") != "pair" or not isinstance(source, dict) or source.get("use") not in ("nli", "sts"):
        return False
    wanted = str(source.get("data", "")).removeprefix("$lang.")
    given = _resource_paths(request.resources)
    others = [name for name in (*given, *facts.values) if (found := IN_ANOTHER.fullmatch(name)) and found[1] == wanted]
    if not others or wanted in given or (wanted in facts.values and others[0] not in given):
        return False
    code = others[0].rpartition("-")[2]
    stage.data["source"] = {
        "use": f"translated-{source['use']}",
        "data": f"$lang.{others[0]}",
        "source_language": code,
        "target_language": facts.code,
    }
    stage.data["translator"] = request.translator or stage.data.get("translator") or facts.values.get("translator")
    stage.data.setdefault("selectors", [])
    stage.data["selectors"] = [*TRANSLATION_CHECKS, {"use": "language-id", "source": code, "target": facts.code}, *stage.data["selectors"]]
    return True


TRANSLATION_CHECKS: tuple[Any, ...] = ("label-checks", "copied-source", "length-ratio", "unknown-words")
"""Selectors that every translated stage gets; ``--set stages.NAME.selectors='[…]'`` chooses others."""


def _defaults(stage: RawStage, domain: DomainFacts) -> None:
    """Put a domain's defaults for a recipe into one of its stages."""
    for path, value in domain.defaults.get(stage.recipe, {}).items():
        first, _, rest = path.partition(".")
        name, _, option = rest.partition(".")
        if first != "stages" or not option:
            raise PlanError(f"domain '{domain.name}': the default '{path}' is not stages.NAME.OPTION")
        if name == stage.name.removeprefix(f"{stage.recipe}."):
            _assign(stage.data, option.split("."), value, path)


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


INPUT_KEYS = tuple(dict.fromkeys(role for stage in STAGES.values() for role in stage.inputs))


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
        raise PlanError(f"--set {text}", hint="Write stages.STAGE.OPTION=VALUE, lang.KEY=VALUE or domain.KEY=VALUE.")
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


def _substitute(
    value: Any,
    facts: LanguageFacts,
    domain: DomainFacts,
    stage: RawStage,
    path: tuple[str | int, ...],
    inside: tuple[str, ...] = (),
) -> Any:
    """A value with its references replaced; `inside` names those whose values it stands in."""
    if isinstance(value, dict):
        return {k: _substitute(v, facts, domain, stage, (*path, k), inside) for k, v in value.items()}
    if isinstance(value, list):
        items: list[Any] = []
        for i, item in enumerate(value):
            found = _substitute(item, facts, domain, stage, (*path, i), inside)
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
            file = "--base PATH" if name == "encoder" else f"--resource {name}=PATH" if standard(name) else ""
            raise PlanError(
                f"the recipe uses {value}",
                where=stage.where(*path),
                hint=f"Name a language with --lang{f', or give {file}' if file else ''}.",
            )
        return _value(value, name, facts.values, facts, domain, stage, path, inside)
    if scope == "domain":
        if not domain.name:
            raise PlanError(f"the recipe uses {value}", where=stage.where(*path), hint="Name a domain with --domain.")
        return _value(value, name, domain.values, facts, domain, stage, path, inside)
    raise PlanError(f"'{value}' is neither $lang.x nor $domain.x", where=stage.where(*path))


def _value(
    shown: str,
    name: str,
    values: Mapping[str, Any],
    facts: LanguageFacts,
    domain: DomainFacts,
    stage: RawStage,
    path: tuple[str | int, ...],
    inside: tuple[str, ...],
) -> Any:
    if name not in values:
        ours = shown.startswith("$domain") or (name == "corpus" and domain.name)
        owner = f"the domain '{domain.name}'" if ours else f"language '{facts.code}'"
        if ours and (codes := domain.elsewhere.get(name)):
            owner += f" (which has one for {', '.join(codes)})"
        flag = "--base PATH_OR_HUB_ID" if name == "encoder" else f"--resource {name}=PATH"
        hint = f"Give one with {flag}.{_form(name)}" if standard(name) else did_you_mean(name, values)
        what = f"{owner} states no '{name}'" + (f" for '{facts.code}'" if ours and facts.code else "") + f" ({shown})"
        raise PlanError(what, where=stage.where(*path), hint=hint)
    found = values[name]
    if not isinstance(found, list | dict):
        return found
    if shown in inside:
        raise PlanError(f"'{shown}' refers to itself", where=stage.where(*path), hint="Write the value out.")
    # Defaults of a manifest may refer to its own resources (evaluators: {data: $lang.sts-test}).
    return _substitute(found, facts, domain, stage, path, (*inside, shown))
