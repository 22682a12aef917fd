"""What was asked for and what is to be done, as plain data: what observers see and the runner works through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from langadapt.contracts.data import Role
from langadapt.manifests.resource import Resource
from langadapt.manifests.stage import Stage


@dataclass(frozen=True)
class Request:
    """What the user asked for, before anything is looked up."""

    recipes: tuple[str, ...]
    """Names, or paths of files; several are chained."""
    lang: str | None = None
    domain: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Dotted path (``stages.NAME.OPTION``, ``lang.KEY``, ``domain.KEY``) → value, as ``--set`` gives them."""
    base: str | None = None
    resources: Mapping[str, Any] = field(default_factory=dict)
    """Name → the file, or the files, that stand for it; a tuple of texts once the request is made."""
    sources: str | None = None
    translator: str | dict[str, Any] | None = None
    licence_policy: str = "any"
    """``permissive`` refuses resources and engines whose licence forbids redistribution, or states none."""
    seed: int = 42

    def __post_init__(self) -> None:
        """One file stands for a resource as well as several do."""
        several = {name: (given,) if isinstance(given, str | Path) else tuple(given) for name, given in self.resources.items()}
        object.__setattr__(self, "resources", {name: tuple(map(str, paths)) for name, paths in several.items()})


@dataclass(frozen=True)
class PlannedStage:
    """One stage, validated and keyed."""

    name: str
    stage: Stage
    slots: Mapping[str, Any]
    """Field → component, list of components or None."""
    inputs: Mapping[str, list[str]]
    """Field → names of earlier stages."""
    identity: Mapping[str, Any]
    key: str
    where: str
    columns: Mapping[str, Role] = field(default_factory=dict)
    """For stages of data: what the columns are that objectives may read."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """For the release alone: what its card states."""

    def input_names(self) -> Iterator[str]:
        for names in self.inputs.values():
            yield from names

    @property
    def output(self) -> str:
        """The type of what it leaves: ``Encoder``, ``Scorer``, ``Corpus``, ``Pairs``, ``Tokenizer``, ``Scores`` or ``Release``."""
        return str(self.slots["objective"].leaves) if "objective" in self.slots else self.stage.output

    def light(self) -> bool:
        """True when its artifact is an adapter beside a base."""
        return "adaptation" in self.slots and bool(self.slots["adaptation"].light)

    def resources(self) -> list[Resource]:
        """Every resource this stage or one of its components reads."""
        found: list[Resource] = []
        _visit_resources([self.stage, *self.slots.values()], found.append)
        return found


@dataclass(frozen=True)
class Plan:
    """Stages in order; the last export is what a build is for."""

    title: str
    recipes: tuple[str, ...]
    language: str
    domain: str | None
    seed: int
    stages: tuple[PlannedStage, ...]
    scripts: tuple[str, ...] = ()
    """Of the language, by ISO 15924 codes."""

    def stage(self, name: str) -> PlannedStage:
        return next(stage for stage in self.stages if stage.name == name)

    def sinks(self) -> list[PlannedStage]:
        """Stages that no other stage reads."""
        used = {name for stage in self.stages for name in stage.input_names()}
        return [stage for stage in self.stages if stage.name not in used]


def _visit_resources(values: list[Any], seen: Any) -> None:
    for value in values:
        if isinstance(value, Resource):
            seen(value)
        elif isinstance(value, BaseModel):
            _visit_resources([getattr(value, name) for name in type(value).model_fields], seen)
        elif isinstance(value, list | tuple):
            _visit_resources(list(value), seen)
