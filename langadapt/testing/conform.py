"""Holding a plugin's components to the laws of their kinds."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from langadapt.contracts.hooks import ComponentRef
from langadapt.errors import LangadaptError
from langadapt.registry.plugins import load_plugins
from langadapt.registry.registry import Registry
from langadapt.testing import laws_of_texts, laws_of_training, laws_of_vectors
from langadapt.testing.laws import LAWS, Case, NotTried, reads_resources
from langadapt.testing.toys import Toy, toy_folder

__all__ = ["conformance", "laws_of_texts", "laws_of_training", "laws_of_vectors"]

HEAVY = ("torch", "transformers", "tokenizers", "datasets", "sklearn", "scipy", "numpy", "pyarrow")
"""What a plugin's module must not import: every command pays for it."""

Examples = Mapping[str, Mapping[str, Any]]

RESERVED = ("rows", "pooler", "translator")
"""Keys of an example that are no options."""


def conformance(module: str, examples: Examples | None = None, apart: Mapping[str, str] | None = None) -> Callable[..., None]:
    """A test function for pytest: every component of a plugin before every law of its kind.

    Args:
        module: the plugin's module, as its entry point names it.
        examples: options of components that cannot do without, by ``kind/name``.  ``rows`` among them are rows of data for the laws that
            need some, ``pooler`` the slot of the pooler that an objective stands on, ``translator`` what pairs are translated with.
            :func:`langadapt.testing.sample` makes resources.
        apart: ``kind/name`` of what no toy can try (it stands on trained adapters, say) → why, which the skipped tests print.

    Raises:
        ImportError: there is no such module.
    """
    import pytest

    given, held_apart = dict(examples or {}), dict(apart or {})
    refs = list(importlib.import_module(module).langadapt_components())
    cases: list[Any] = [pytest.param(None, rule, id=rule.__name__) for rule in (_cold, _same_elsewhere)]
    cases += [
        pytest.param(ref, rule, id=f"{ref.kind}/{ref.name}-{rule.__name__}")
        for ref in refs
        for rule in (_says_what_it_is, _lasts_as_a_slot, *LAWS.get(ref.kind, []))
    ]

    @pytest.mark.parametrize(("ref", "rule"), cases)
    def test_conformance(ref: ComponentRef | None, rule: Any, tmp_path: Path) -> None:
        registry = _registry(module)
        if ref is None:
            rule(module, registry, given)
            return
        if (why := held_apart.get(f"{ref.kind}/{ref.name}")) and rule is not _says_what_it_is:
            pytest.skip(why)
        try:
            _judge(ref, rule, registry, given, tmp_path)
        except NotTried as why_not:
            pytest.skip(f"{ref.kind} '{ref.name}': {why_not}")
        except LangadaptError as error:
            if "CUDA" not in f"{error.what} {error.hint}":
                raise
            pytest.skip(f"{ref.kind} '{ref.name}' needs another machine: {error.what}")

    found: Callable[..., None] = test_conformance
    return found


@cache
def _registry(module: str) -> Registry:
    """What is installed, and the plugin: found once for all of its cases."""
    return Registry(load_plugins(() if _installed(module) else (module,)))


@cache
def _installed(module: str) -> bool:
    return any(plugin.module == module for plugin in load_plugins().found)


def _judge(ref: ComponentRef, rule: Any, registry: Registry, given: Examples, folder: Path) -> None:
    if rule is _says_what_it_is:
        _says_what_it_is(registry.get(ref.kind, ref.name), ref)
        return
    options, reserved = _options(registry, ref.kind, ref.name, given)
    component = registry.build(ref.kind, {"use": ref.name, **options})
    rule(Case(component, Toy(toy_folder(), registry), folder, **reserved))


def _says_what_it_is(found: Any, ref: ComponentRef) -> None:
    """A docstring of its own, a summary in the list, and options that say their type."""
    assert found.__doc__, f"{ref.target} has no docstring"
    assert found.__doc__ != found.__mro__[1].__doc__, f"{ref.target} has only its base class's docstring"
    assert ref.summary, f"the {ref.kind} '{ref.name}' has no summary in langadapt_components()"
    assert len(ref.summary) <= 100, f"the summary of '{ref.name}' does not fit in a list: {len(ref.summary)} letters"


def _lasts_as_a_slot(case: Case) -> None:
    """Built again from its slot it is the same, a slot is JSON, and an unknown option is refused."""
    component, registry = case.component, case.toy.registry
    slot = component.slot()
    again = registry.build(component.kind, json.loads(json.dumps(slot)))
    assert again.slot() == slot
    if not reads_resources(component):  # the content of files is pinned by the plan, and no part of a slot
        identity = component.identity()
        assert json.loads(json.dumps(identity)) == identity, "its identity is no plain JSON"
        assert again.identity() == identity
    try:
        registry.build(component.kind, {**slot, "no_such_option": 1})
    except LangadaptError:
        return
    raise AssertionError("it takes options that it does not know")


def _cold(module: str, registry: Registry, given: Examples) -> None:
    """The plugin's module imports no heavy library."""
    line = f"import sys, {module} as m; list(m.langadapt_components()); print([name for name in {HEAVY!r} if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]", f"{module} imports {done.stdout.strip()}: name components as strings"


def _same_elsewhere(module: str, registry: Registry, given: Examples) -> None:
    """Every identity is the same in another process, whatever the order of its sets and dictionaries."""
    refs = [(ref.kind, ref.name) for ref in importlib.import_module(module).langadapt_components()]
    slots = {f"{kind}/{name}": {"use": name, **_options(registry, kind, name, given)[0]} for kind, name in refs}
    built = [key for key in slots if _buildable(registry, key, slots[key])]
    code = (
        "import json, sys\nfrom langadapt.registry.plugins import load_plugins\nfrom langadapt.registry.registry import Registry\n"
        "extra, slots = json.loads(sys.argv[1])\nregistry = Registry(load_plugins(extra))\n"
        "print(json.dumps({k: registry.build(k.partition('/')[0], s).identity() for k, s in slots.items()}))"
    )
    extra = [] if _installed(module) else [module]
    argument = json.dumps([extra, {key: slots[key] for key in built}])
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code, argument], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)
    for key in built:
        assert theirs[key] == registry.build(key.partition("/")[0], slots[key]).identity(), key


def _options(registry: Registry, kind: str, name: str, given: Examples) -> tuple[dict[str, Any], dict[str, Any]]:
    """An example's options, and what in it is for the laws alone."""
    options = dict(given.get(f"{kind}/{name}", {}))
    own = registry.get(kind, name).model_fields
    return options, {key: options.pop(key) for key in RESERVED if key in options and key not in own}


def _buildable(registry: Registry, key: str, slot: dict[str, Any]) -> bool:
    try:
        json.dumps(slot)
        return not reads_resources(registry.build(key.partition("/")[0], slot))
    except (LangadaptError, TypeError):
        return False
