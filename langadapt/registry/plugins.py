"""Finding and loading plugins: entry points in group ``langadapt``, each in its own ``try``.

A broken plugin is listed with its reason and never kills a command that does not need it.
``LANGADAPT_PLUGINS=a,b`` loads only those entry points, an empty value loads none.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pluggy
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from langadapt.contracts import hooks
from langadapt.contracts.hooks import ComponentRef
from langadapt.contracts.kinds import KINDS
from langadapt.errors import RegistryError, did_you_mean
from langadapt.registry import builtin
from langadapt.version import __version__

GROUP = "langadapt"


@dataclass
class Plugin:
    """One plugin as found: loaded, or broken with the reason."""

    name: str
    version: str = ""
    module: str = ""
    written_for: str = ""
    """The versions of langadapt that its package asks for."""
    problem: str | None = None
    components: list[ComponentRef] = field(default_factory=list)
    data_dirs: list[Path] = field(default_factory=list)
    hooks: list[str] = field(default_factory=list)


@dataclass
class Plugins:
    """All plugins of a process and the pluggy manager that calls their hooks."""

    manager: pluggy.PluginManager
    found: list[Plugin]

    @property
    def broken(self) -> list[Plugin]:
        return [plugin for plugin in self.found if plugin.problem]

    @property
    def data_dirs(self) -> list[Path]:
        return [folder for plugin in self.found for folder in plugin.data_dirs]


def load_plugins(extra: Sequence[str] = (), environ: dict[str, str] | None = None) -> Plugins:
    """Load the built-in components, the installed entry points and the modules named by ``--plugin``.

    Raises:
        RegistryError: ``LANGADAPT_PLUGINS`` or ``--plugin`` names something that does not exist.
    """
    manager = pluggy.PluginManager("langadapt")
    manager.add_hookspecs(hooks)
    found = [_register(manager, Plugin("langadapt", module=builtin.__name__), builtin)]
    for entry in _wanted(environ if environ is not None else dict(os.environ)):
        plugin = Plugin(entry.name, entry.dist.version if entry.dist else "", entry.value, _written_for(entry))
        if plugin.written_for and not SpecifierSet(plugin.written_for).contains(__version__, prereleases=True):
            plugin.problem = f"was written for langadapt {plugin.written_for}, and this is {__version__}"
            found.append(plugin)
            continue
        try:
            with _named_while_slow(entry.name), stdout_to_stderr():
                module = entry.load()
        except (Exception, SystemExit) as error:
            plugin.problem = f"cannot be imported: {type(error).__name__}: {error}"
            found.append(plugin)
        else:
            found.append(_register(manager, plugin, module))
    for name in extra:
        try:
            with _named_while_slow(name), stdout_to_stderr():
                module = importlib.import_module(name)
        except (Exception, SystemExit) as error:
            raise RegistryError(
                f"--plugin {name} cannot be imported: {type(error).__name__}: {error}",
                hint="Give a module that is on the Python path.",
            ) from error
        found.append(_register(manager, Plugin(name, module=name), module))
    return Plugins(manager, found)


PATIENCE = 20.0
"""Seconds after which a plugin that is still being imported is named, so that a hang has a culprit."""


@contextlib.contextmanager
def _named_while_slow(name: str) -> Iterator[None]:
    def tell() -> None:
        what = f"still loading the plugin '{name}' after {PATIENCE:.0f} s; LANGADAPT_PLUGINS=… loads only the plugins it names"
        sys.stderr.write(f"{what}\n")

    timer = threading.Timer(PATIENCE, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """What a plugin prints goes to standard error: standard output is the command's answer, and may be JSON."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _written_for(entry: importlib.metadata.EntryPoint) -> str:
    """What an entry point's package requires of langadapt, sorted; empty where it does not say, or not as packages say it."""
    for line in (entry.dist.requires or []) if entry.dist else []:
        try:
            needed = Requirement(line)
        except InvalidRequirement:
            continue
        if needed.name == "langadapt":
            return ",".join(sorted(map(str, needed.specifier), reverse=True))
    return ""


def _wanted(environ: dict[str, str]) -> Iterable[importlib.metadata.EntryPoint]:
    entries = sorted(importlib.metadata.entry_points(group=GROUP), key=lambda entry: entry.name)
    if "LANGADAPT_PLUGINS" not in environ:
        return entries
    names = [name.strip() for name in environ["LANGADAPT_PLUGINS"].split(",") if name.strip()]
    known = {entry.name for entry in entries}
    for name in names:
        if name not in known:
            raise RegistryError(f"LANGADAPT_PLUGINS names '{name}', which is not installed", hint=did_you_mean(name, known))
    return [entry for entry in entries if entry.name in names]


def _register(manager: pluggy.PluginManager, plugin: Plugin, module: Any) -> Plugin:
    """Register a module and ask it, alone, what it brings; whatever it raises becomes its problem."""
    try:
        manager.register(module, name=plugin.name)
        plugin.hooks = sorted(caller.name for caller in manager.get_hookcallers(module) or [])
        manager.check_pending()
        with _named_while_slow(plugin.name), stdout_to_stderr():
            if "langadapt_components" in plugin.hooks:
                plugin.components = [_checked(ref) for ref in module.langadapt_components()]
            if "langadapt_data_dirs" in plugin.hooks:
                plugin.data_dirs = [Path(folder) for folder in module.langadapt_data_dirs()]
    except (Exception, SystemExit) as error:
        plugin.problem = f"{type(error).__name__}: {error}"
        plugin.components, plugin.data_dirs = [], []
        if manager.has_plugin(plugin.name):
            manager.unregister(name=plugin.name)
    return plugin


def _checked(ref: Any) -> ComponentRef:
    if not isinstance(ref, ComponentRef):
        raise TypeError(f"langadapt_components() must yield ComponentRef, not {type(ref).__name__}")
    if ref.kind not in KINDS:
        raise ValueError(f"component '{ref.name}' is of the unknown kind '{ref.kind}'. {did_you_mean(ref.kind, KINDS)}")
    if ref.target.count(":") != 1:
        raise ValueError(f"component '{ref.name}': target '{ref.target}' is not 'package.module:Class'")
    return ref
