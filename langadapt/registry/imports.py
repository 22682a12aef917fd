"""What a plugin imports of langadapt: the contracts, the errors and the testing kit are for plugins, everything else may change."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from langadapt.errors import RegistryError
from langadapt.registry.plugins import Plugin

PUBLIC = ("langadapt.contracts", "langadapt.errors", "langadapt.testing")
OWN = "langadapt.registry.builtin"
"""The core's own list of components, which is no plugin of another package."""


def internal_imports(plugin: Plugin) -> list[RegistryError]:
    """An error for each import of core internals in the files of a plugin's package, with file and line."""
    package = plugin.module.partition(".")[0]
    if not package or plugin.module == OWN or plugin.problem:
        return []
    return [
        RegistryError(
            f"plugin '{plugin.name}' imports {name}, which is internal and may change with any version",
            where=f"{file}:{line}",
            hint="What plugins may import is in langadapt.contracts; docs/explanation/migration-0.2.md says what stands where.",
        )
        for file in _files(package)
        for name, line in _imports(file)
        if name.startswith("langadapt.") and not any(name == one or name.startswith(f"{one}.") for one in PUBLIC)
    ]


def _files(package: str) -> Iterator[Path]:
    spec = importlib.util.find_spec(package)
    if spec is None:
        return
    for place in spec.submodule_search_locations or ():
        yield from sorted(Path(place).rglob("*.py"))
    if spec.submodule_search_locations is None and spec.origin:
        yield Path(spec.origin)


def _imports(file: Path) -> Iterator[tuple[str, int]]:
    """(module, line) of every import statement of a file; one that cannot be parsed has none that matter here."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node.lineno
