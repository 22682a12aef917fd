"""The registry: (kind, name) → component class, imported only when asked for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from langadapt.contracts.component import Component, Use
from langadapt.contracts.hooks import ComponentRef
from langadapt.contracts.kinds import KINDS
from langadapt.errors import LangadaptError, RegistryError, did_you_mean
from langadapt.registry.plugins import Plugin, Plugins

C = TypeVar("C", bound=Component)


@dataclass(frozen=True)
class Listed:
    """A component reference and the plugin that brings it."""

    ref: ComponentRef
    plugin: str


class Registry:
    """All components that the loaded plugins bring.

    Raises:
        RegistryError: two plugins claim one name (naming both).
    """

    def __init__(self, plugins: Plugins) -> None:
        self.plugins = plugins
        self._listed: dict[tuple[str, str], Listed] = {}
        for plugin in plugins.found:
            self._add(plugin)

    def _add(self, plugin: Plugin) -> None:
        for ref in plugin.components:
            earlier = self._listed.get((ref.kind, ref.name))
            if earlier:
                raise RegistryError(
                    f"two plugins claim the {ref.kind} '{ref.name}': '{earlier.plugin}' and '{plugin.name}'",
                    hint="Uninstall one of them, or choose with LANGADAPT_PLUGINS=name,name.",
                )
            self._listed[ref.kind, ref.name] = Listed(ref, plugin.name)

    def list(self, kind: str | None = None) -> list[Listed]:
        """What there is, without importing any of it, ordered by kind and name."""
        if kind is not None and kind not in KINDS:
            raise RegistryError(f"there is no kind '{kind}'", hint=did_you_mean(kind, KINDS))
        found = [item for (k, _), item in sorted(self._listed.items()) if kind in (None, k)]
        return found

    def names(self, kind: str) -> Sequence[str]:
        """The names of one kind."""
        return [name for k, name in self._listed if k == kind]

    def get(self, kind: str, name: str, where: str | None = None) -> type[Component]:
        """Import one component's class and check it against its kind.

        Raises:
            RegistryError: unknown name (with a suggestion), or the class cannot be imported or is not one.
        """
        item = self._listed.get((kind, name))
        if item is None:
            raise RegistryError(f"there is no {kind} '{name}'", where=where, hint=self._hint(kind, name))
        module, _, attribute = item.ref.target.partition(":")
        try:
            found: type[Component] = getattr(importlib.import_module(module), attribute)
        except Exception as error:
            raise RegistryError(
                f"the {kind} '{name}' of plugin '{item.plugin}' cannot be imported from {item.ref.target}: {type(error).__name__}: {error}",
                where=where,
                hint="Run 'langadapt doctor' to see what is installed.",
            ) from error
        self._check(found, item, where)
        return found

    def _hint(self, kind: str, name: str) -> str:
        broken = ", ".join(f"'{plugin.name}'" for plugin in self.plugins.broken)
        hint = did_you_mean(name, self.names(kind))
        return f"{hint} These plugins are broken and bring nothing: {broken}." if broken else hint

    def _check(self, found: Any, item: Listed, where: str | None) -> None:
        ref = item.ref
        if not (isinstance(found, type) and issubclass(found, Component)):
            raise RegistryError(f"{ref.target} of plugin '{item.plugin}' is not a Component", where=where)
        contract = KINDS[ref.kind]
        if not issubclass(found, contract):
            raise RegistryError(
                f"{ref.target} of plugin '{item.plugin}' is no langadapt.contracts.{contract.__name__}: it was written for "
                f"langadapt 0.1, or is no {ref.kind}",
                where=where,
                hint="Its author finds what to change in docs/explanation/migration-0.2.md; until then install langadapt<0.2.",
            )
        missing = sorted(found.__abstractmethods__)
        if (found.kind, getattr(found, "name", None)) != (ref.kind, ref.name) or missing:
            wrong = f"lacks {', '.join(missing)}" if missing else f"calls itself {found.kind} '{getattr(found, 'name', '')}'"
            raise RegistryError(f"{ref.target} is listed by plugin '{item.plugin}' as {ref.kind} '{ref.name}' but {wrong}", where=where)

    def build(self, kind: str, slot: str | dict[str, Any], where: str | None = None) -> Component:
        """A component from a recipe's slot: a name, or ``{use: NAME, …options}``.

        Raises:
            RegistryError: no such component, an unknown option (with a suggestion) or a wrong type.
        """
        options = {} if isinstance(slot, str) else {k: v for k, v in slot.items() if k != "use"}
        name = slot if isinstance(slot, str) else slot.get("use")
        if not isinstance(name, str):
            raise RegistryError(f"a {kind} is a name or 'use: NAME' with options", where=where)
        found = self.get(kind, name, where)
        for option, info in found.model_fields.items():
            inner = next((mark.kind for mark in info.metadata if isinstance(mark, Use)), None)
            if inner and option in options:
                options[option] = self._inner(inner, options[option], where)
        try:
            return found.model_validate(options)
        except ValidationError as error:
            raise option_error(error, f"{kind} '{name}'", list(found.model_fields), where) from error

    def make(self, contract: type[C], slot: str | dict[str, Any], where: str | None = None) -> C:
        """As :meth:`build`, for a kind that is known where it is asked for: ``make(Pooler, "mean")``."""
        found = self.build(contract.kind, slot, where)
        assert isinstance(found, contract)
        return found

    def default(self, kind: str) -> str:
        """The name of what commands take of a kind where their user names none.

        Raises:
            RegistryError: no plugin that is installed brings one, or several do.
        """
        found = [item for item in self.list(kind) if item.ref.default]
        if len(found) == 1:
            return found[0].ref.name
        claimed = " and ".join(f"'{item.ref.name}' of plugin '{item.plugin}'" for item in found)
        if found:
            raise RegistryError(
                f"taken by default as {kind}: {claimed}, and one alone can be", hint="Leave one plugin out (LANGADAPT_PLUGINS)."
            )
        raise RegistryError(f"no plugin that is loaded brings what is taken by default as {kind}", hint="Install langadapt's own plugins.")

    def _inner(self, kind: str, value: Any, where: str | None) -> Any:
        """An option that is a component, or a list of them, built."""
        if isinstance(value, list):
            return [self._inner(kind, item, where) for item in value]
        return value if isinstance(value, Component) or value is None else self.build(kind, value, where)


def option_error(error: ValidationError, owner: str, known: list[str], where: str | None) -> LangadaptError:
    """The first of pydantic's complaints as one sentence with a suggestion."""
    problem = error.errors()[0]
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return RegistryError(f"{owner} has no option '{path}'", where=where, hint=did_you_mean(path, known))
    if problem["type"] == "missing":
        return RegistryError(f"{owner} needs the option '{path}'", where=where)
    value = problem.get("input")
    return RegistryError(f"{owner}: '{path}' is {value!r}: {problem['msg'].lower()}", where=where)
