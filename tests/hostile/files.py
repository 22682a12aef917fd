"""Malformed and odd files: data, checkpoints, adapters, manifests, each from a sound one by one named change."""

from __future__ import annotations

import gzip
import json
import os
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Change = Callable[[Path], None]
"""Harms a file or a folder in place."""


def text_damage(content: bytes, seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Random damage to a text file: bytes flipped, cut out, doubled, swapped for signs that formats care about."""
    rng = random.Random(seed)
    signs = [b"\0", b'"', b"\t", b"\n", b",", b";", b"\xff", b"\xed\xa0\x80", b"{", b"]", b"\\u0000", b"nan", b"1e999", b"\xef\xbb\xbf"]
    for i in range(count):
        place, length = rng.randrange(len(content)), rng.randrange(1, 20)
        kind = rng.choice(("flip", "cut", "double", "insert", "truncate"))
        if kind == "flip":
            changed = content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :]
        elif kind == "cut":
            changed = content[:place] + content[place + length :]
        elif kind == "double":
            changed = content[: place + length] + content[place:]
        elif kind == "insert":
            changed = content[:place] + rng.choice(signs) + content[place:]
        else:
            changed = content[:place]
        yield f"{kind} {i}", changed


def odd_json(rng: random.Random) -> Any:
    """A JSON value that no settings file means."""
    return rng.choice([None, True, -1, 0, 10**9, 1.5, "", "x" * 100, "../x", [], {}, [[]], {"a": {"b": {}}}, "NaN", 10**30])


def json_damage(value: Any, seed: int, count: int) -> Iterator[tuple[str, Any]]:
    """A settings file with one value replaced, removed or added."""
    rng = random.Random(seed)
    places = list(_places(value))
    for i in range(count):
        changed = json.loads(json.dumps(value))
        path = rng.choice(places)
        holder = changed
        for key in path[:-1]:
            holder = holder[key]
        kind = rng.choice(("replace", "replace", "remove", "add"))
        if kind == "remove":
            del holder[path[-1]]
        elif kind == "add" and isinstance(holder, dict):
            holder[f"strange_{i}"] = odd_json(rng)
        else:
            holder[path[-1]] = odd_json(rng)
        yield f"{kind} {'.'.join(map(str, path))} {i}", changed


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from _places(inner, (*path, key))


def set_json(name: str, **changes: Any) -> Change:
    """Set keys of a JSON file of a folder; None removes one."""

    def change(folder: Path) -> None:
        path = folder / name
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        found.update(changes)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({key: value for key, value in found.items() if value is not None}), encoding="utf-8")

    return change


def write(name: str, content: bytes) -> Change:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    return change


def tensors(name: str, change: Callable[[dict[str, Any]], None]) -> Change:
    """Change the tensors of a safetensors file of a folder."""

    def apply(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        found = load_file(str(folder / name))
        change(found)
        save_file({key: value.contiguous() for key, value in found.items()}, str(folder / name), metadata={"format": "pt"})

    return apply


def set_value(ending: str, value: float) -> Callable[[dict[str, Any]], None]:
    """Put one value into the first tensor whose name ends so."""

    def change(found: dict[str, Any]) -> None:
        name = next(name for name in found if name.endswith(ending))
        found[name].view(-1)[3] = value

    return change


def header_damage(folder: Path) -> None:
    """A safetensors header that claims to be larger than its file."""
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(struct.pack("<Q", 2**40) + content[8:])


def pipe(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return change


def gzip_of_one_line(path: Path, size: int) -> None:
    """A small file that unpacks to one line of `size` bytes."""
    with gzip.open(path, "wb", compresslevel=9) as handle:
        handle.write(b"premise\thypothesis\tlabel\n")
        block = b"a" * 1_000_000
        for _ in range(size // len(block)):
            handle.write(block)
