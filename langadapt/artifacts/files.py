"""Files that prove themselves: canonical hashes, digests of folders, JSON written in one piece."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langadapt.errors import StoreError

RECORD = "artifact.json"
"""The record of an artifact, written last and left out of its own digest."""


def stable_hash(value: Any) -> str:
    """sha256 of canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, streamed."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def path_identity(path: Path) -> str:
    """sha256 of a file, or of every file name and content below a folder (hidden files left out)."""
    if path.is_file():
        return file_digest(path)
    total = hashlib.sha256()
    for root, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                file = Path(root) / name
                total.update(f"{file.relative_to(path).as_posix()}\0{file_digest(file)}\n".encode())
    return total.hexdigest()


def digests(folder: Path) -> dict[str, dict[str, Any]]:
    """Relative name → sha256 and size of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): {"sha256": file_digest(path), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).as_posix() != RECORD
    }


def damage(folder: Path, files: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(file, what is wrong) for every recorded file that is missing or altered."""
    for name, stated in files.items():
        path = folder / name
        if not path.is_file():
            yield name, "is missing"
        elif path.stat().st_size != stated["bytes"]:
            yield name, f"has {path.stat().st_size} bytes, {stated['bytes']} expected"
        elif file_digest(path) != stated["sha256"]:
            yield name, "was altered (its sha256 differs)"


def write_json(path: Path, value: Any) -> None:
    """Write JSON aside and rename it, so that a reader sees the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False) + "\n", encoding="utf-8")
    temporary.rename(path)


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        StoreError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot be read: {error}", where=str(path), hint="Delete the folder it stands in and build again.") from error
