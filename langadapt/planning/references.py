"""References in recipes replaced by what they stand for: whole values only; ``$lang.nli`` becomes the language's resource ``nli``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langadapt.errors import PlanError, did_you_mean
from langadapt.planning.facts import DomainFacts, LanguageFacts
from langadapt.planning.raw import RawStage
from langadapt.planning.resource_names import form_of, standard


def substitute(
    value: Any,
    facts: LanguageFacts,
    domain: DomainFacts,
    stage: RawStage,
    path: tuple[str | int, ...],
    inside: tuple[str, ...] = (),
) -> Any:
    """A value with its references replaced; `inside` names those whose values it stands in."""
    if isinstance(value, dict):
        return {k: substitute(v, facts, domain, stage, (*path, k), inside) for k, v in value.items()}
    if isinstance(value, list):
        items: list[Any] = []
        for i, item in enumerate(value):
            found = substitute(item, facts, domain, stage, (*path, i), inside)
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
        hint = f"Give one with {flag}.{form_of(name)}" if standard(name) else did_you_mean(name, values)
        if known := (domain.missing if ours else facts.missing).get(name):
            hint = f"To come by it: {known} {hint}"
        what = f"{owner} states no '{name}'" + (f" for '{facts.code}'" if ours and facts.code else "") + f" ({shown})"
        raise PlanError(what, where=stage.where(*path), hint=hint)
    found = values[name]
    if not isinstance(found, list | dict):
        return found
    if shown in inside:
        raise PlanError(f"'{shown}' refers to itself", where=stage.where(*path), hint="Write the value out.")
    # Defaults of a manifest may refer to its own resources (evaluators: {data: $lang.sts-test}).
    return substitute(found, facts, domain, stage, path, (*inside, shown))
