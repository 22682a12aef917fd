"""Reading small files of others: regular files only, of a bounded size, as JSON of a bounded depth.

Every JSON file beside a checkpoint or an adapter is read here, so that a limit is stated once and holds everywhere.
"""

from __future__ import annotations

import json
import math
import stat
from pathlib import Path, PurePosixPath
from typing import Any

from langadapt.errors import LangadaptError, ModelError

SETTINGS_BYTES = 16_000_000
"""Bytes of one settings file (``config.json``, ``modules.json``, ``adapter_config.json`` …); real ones have a few thousand."""

SETTINGS_DEPTH = 30
"""Levels of lists and objects inside one another in a settings file."""


def regular(path: Path, error: type[LangadaptError] = ModelError) -> int:
    """Size in bytes of a regular file.

    Raises:
        LangadaptError: of the class `error`: missing, unreadable, or a folder, pipe or device, which could be read for ever.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise error(f"cannot be read: {reason}", where=str(path)) from problem
    if not stat.S_ISREG(found.st_mode):
        raise error("is no regular file", where=str(path), hint="Give a file, not a folder, pipe or device.")
    return found.st_size


def read_settings_file(path: Path, finite: bool = True) -> dict[str, Any]:
    """A JSON object out of a folder that others may have written.

    Args:
        path: the file.
        finite: refuse ``NaN`` and ``Infinity``, which JSON does not have; a few architectures write them into ``config.json``.

    Raises:
        ModelError: no regular file, larger than :data:`SETTINGS_BYTES`, no JSON object, deeper than :data:`SETTINGS_DEPTH`, or with
            numbers that are none.
    """
    found = read_settings_json(path, finite)
    if not isinstance(found, dict):
        raise ModelError(f"holds {_kind(found)} where an object is meant", where=str(path), hint=AGAIN)
    return found


def read_settings_json(path: Path, finite: bool = True) -> Any:
    """As :func:`read_settings_file`, whatever the value on top is (``modules.json`` is a list)."""
    size = regular(path)
    if size > SETTINGS_BYTES:
        raise ModelError(f"has {size:,} bytes, and a settings file at most {SETTINGS_BYTES:,}", where=str(path), hint=AGAIN)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ModelError("is nested too deeply", where=str(path), hint=AGAIN) from error
    except (OSError, ValueError) as error:
        raise ModelError(f"is truncated or no JSON: {error}", where=str(path), hint=AGAIN) from error
    problem = _unsound(found, 0, finite)
    if problem:
        raise ModelError(problem, where=str(path), hint=AGAIN)
    return found


AGAIN = "Fetch or copy the folder again."


def _unsound(value: Any, depth: int, finite: bool) -> str:
    """What makes a parsed value unfit; nothing where it is sound."""
    if depth > SETTINGS_DEPTH:
        return f"is nested more than {SETTINGS_DEPTH} levels deep"
    if finite and isinstance(value, float) and not math.isfinite(value):
        return f"holds {value}, which is no number"
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return next((problem for item in value if (problem := _unsound(item, depth + 1, finite))), "")
    return ""


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "true or false", type(None): "null"}
    return names.get(type(value), type(value).__name__)


def inside(folder: Path, name: Any, file: Path) -> Path:
    """The path of a name that `file` states for something inside `folder`.

    The one place where names out of a file become paths: absolute names, ``..`` and odd characters never leave the folder.

    Raises:
        ModelError: the name is none, or leads out of the folder.
    """
    if not isinstance(name, str):
        raise ModelError(f"names a file by {name!r}"[:200], where=str(file), hint=AGAIN)
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if "\0" in name or name.startswith(("/", "~")) or ".." in parts or any(":" in part for part in parts):
        raise ModelError(f"names '{name[:100]}', which lies outside its folder", where=str(file), hint="Do not trust this folder.")
    return folder.joinpath(*parts)
