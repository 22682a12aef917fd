"""Strict YAML: scalars stay strings, every node knows its line, duplicate keys are refused.

PyYAML turns ``no`` into ``False`` (the Norwegian code is ``no``) and keeps the last of two equal keys.
Here a plain scalar is a string, pydantic gives it its type, and only ``null``, ``~`` and nothing mean None.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from langadapt.errors import ManifestError

KeyPath = tuple[str | int, ...]

DEPTH = 50
"""Levels of a manifest; no sensible one has a fifth of them."""
BYTES = 4_000_000
"""Size of a manifest; the largest shipped one has a thousandth of it."""
VALUES = 100_000
"""Values of a manifest once its aliases are written out: nine levels of ten aliases would be a thousand million."""


@dataclass(frozen=True)
class Document:
    """A parsed manifest: plain data and the line of every key path in it."""

    file: str
    data: dict[str, Any]
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def where(self, path: KeyPath) -> str:
        """``file:line (key.path)`` of the nearest known ancestor of `path`."""
        probe = path
        while probe and probe not in self.lines:
            probe = probe[:-1]
        dotted = ".".join(str(part) for part in path)
        line = self.lines.get(probe, 1)
        return f"{self.file}:{line}" + (f" ({dotted})" if dotted else "")


def load(path: Path) -> Document:
    """Parse one manifest file.

    Raises:
        ManifestError: the file is missing, is not UTF-8, is not YAML, repeats a key or is not a mapping.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise ManifestError("is no regular file", where=str(path), hint="Give a manifest file, not a folder, pipe or device.")
        if found.st_size > BYTES:
            raise ManifestError(f"has {found.st_size:,} bytes, and a manifest at most {BYTES:,}", where=str(path))
        content = path.read_bytes()
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ManifestError(
            f"byte 0x{content[error.start]:02x} is not valid UTF-8",
            where=f"{path}:{line}",
            hint="Save the file as UTF-8.",
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ManifestError(f"cannot read the manifest: {reason}", where=str(path)) from error
    return parse(text, str(path))


def parse(text: str, file: str) -> Document:
    """Parse manifest text; `file` is the name shown in errors."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except RecursionError as error:
        raise ManifestError("is nested too deeply", where=file) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ManifestError(
            f"not valid YAML: {error.problem or error.context}",
            where=f"{file}:{line}",
            hint="Check the indentation and the quotes around this line.",
        ) from error
    except yaml.YAMLError as error:
        raise ManifestError(f"not valid YAML: {error}", where=file) from error
    if not isinstance(root, MappingNode):
        raise ManifestError(
            "a manifest is a mapping of keys to values", where=f"{file}:1", hint="Start it with 'recipe: NAME' or 'language: CODE'."
        )
    lines: dict[KeyPath, int] = {}
    try:
        return Document(file, _plain(root, (), lines, file), lines)
    except RecursionError as error:
        raise ManifestError("is nested too deeply", where=file) from error


def _plain(node: Node, path: KeyPath, lines: dict[KeyPath, int], file: str) -> Any:
    lines[path] = node.start_mark.line + 1
    if len(lines) > VALUES:
        raise ManifestError(
            f"holds more than {VALUES:,} values once its aliases are written out",
            where=f"{file}:{lines[path]}",
            hint="Write the values out in place of aliases of aliases.",
        )
    if len(path) > DEPTH:
        raise ManifestError(
            f"is nested more than {DEPTH} levels deep, or an alias stands inside what it names",
            where=f"{file}:{lines[path]}",
            hint="Write the value out in place of the alias.",
        )
    if isinstance(node, ScalarNode):
        return _scalar(node)
    if isinstance(node, SequenceNode):
        return [_plain(child, (*path, i), lines, file) for i, child in enumerate(node.value)]
    assert isinstance(node, MappingNode)
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, ScalarNode):
            raise ManifestError("a key must be a plain word", where=f"{file}:{key_node.start_mark.line + 1}")
        key = key_node.value
        line = key_node.start_mark.line + 1
        if key in found:
            raise ManifestError(
                f"key '{key}' stands twice (first in line {lines[(*path, key)]})",
                where=f"{file}:{line}",
                hint="Remove one of the two.",
            )
        found[key] = _plain(value_node, (*path, key), lines, file)
        lines[(*path, key)] = line
    return found


def _scalar(node: ScalarNode) -> str | None:
    if node.style is None and node.value in ("", "~", "null"):
        return None
    return str(node.value)
