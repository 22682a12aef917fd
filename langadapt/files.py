"""Files that prove themselves: canonical hashes, digests of folders, JSON written in one piece."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from langadapt.errors import StoreError

RECORD = "artifact.json"
"""The record of an artifact, written last and left out of its own digest."""


def stable_hash(value: Any) -> str:
    """sha256 of canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()  # file names need not be UTF-8


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
            file = Path(root) / name
            if not name.startswith(".") and file.is_file():  # a pipe or a device among them is nobody's content
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
        if not isinstance(stated, dict) or not {"bytes", "sha256"} <= stated.keys() or ".." in Path(name).parts or name.startswith("/"):
            yield RECORD, f"states no size and digest for '{name[:100]}'"
        elif not path.is_file():
            yield name, "is missing"
        elif path.stat().st_size != stated["bytes"]:
            yield name, f"has {path.stat().st_size} bytes, {stated['bytes']} expected"
        elif file_digest(path) != stated["sha256"]:
            yield name, "was altered (its sha256 differs)"


def strangers(folder: Path, known: Collection[str]) -> Iterator[tuple[str, str]]:
    """(file, what is wrong) for everything below a folder that is not among the `known` files, or is no plain file or folder."""
    for root, folders, files in os.walk(folder):
        for name in sorted(folders):
            if (Path(root) / name).is_symlink():
                yield (Path(root) / name).relative_to(folder).as_posix(), "is a link to a folder, and does not belong here"
        for name in sorted(files):
            path = Path(root) / name
            shown = path.relative_to(folder).as_posix()
            if not stat.S_ISREG(path.lstat().st_mode) and not path.is_file():
                yield shown, "is no regular file"
            elif shown not in known:
                yield shown, "does not belong here"


Stamp = tuple[int, int, int, int]


def stamp(path: Path) -> Stamp:
    """What changes whenever a file's bytes do: inode, size, times of writing and of changing, in nanoseconds.

    Equal stamps before and after a reading mean that the bytes read are those of the stamp; they are compared within one process
    only, never kept on disk.
    """
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def stamps(path: Path) -> tuple[tuple[str, Stamp], ...]:
    """The stamps of a file, or of every visible file below a folder, by relative name."""
    if not path.is_dir():
        return (("", stamp(path)),)
    found = []
    for root, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and (file := Path(root) / name).is_file():
                found.append((file.relative_to(path).as_posix(), stamp(file)))
    return tuple(found)


def write_json(path: Path, value: Any) -> None:
    """Write JSON aside and rename it, so that a reader sees the old file or the new one."""
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False) + "\n"
    # A file name that is no UTF-8 holds half surrogates: they are written as escapes.
    write_text(path, text.encode("utf-8", "backslashreplace"))


def write_text(path: Path, content: bytes) -> None:
    """Write bytes aside and rename them; a write that fails leaves nothing behind."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        StoreError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"cannot be read: {error}", where=str(path), hint="Delete the folder it stands in and build again.") from error
