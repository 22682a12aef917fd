"""How large the house's parts may become, so that each can be read in one sitting."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [*sorted((ROOT / "langadapt").rglob("*.py")), *sorted(ROOT.glob("plugins/*/src/**/*.py"))]

FILE, CLASS, FUNCTION = 500, 250, 50
"""Lines: of any file, of any class, and of all but one function in twenty."""


def nodes(kind: type) -> Iterator[tuple[Path, ast.AST]]:
    for file in SOURCES:
        yield from ((file, node) for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, kind))


def lines(node: ast.AST) -> int:
    return int(node.end_lineno - node.lineno + 1)  # type: ignore[attr-defined]


def test_no_file_is_too_long() -> None:
    long = {str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines()) for file in SOURCES}
    assert {name: count for name, count in long.items() if count > FILE} == {}


def test_no_class_is_too_long() -> None:
    assert {f"{file.relative_to(ROOT)}:{node.name}": lines(node) for file, node in nodes(ast.ClassDef) if lines(node) > CLASS} == {}  # type: ignore[attr-defined]


def test_functions_are_short() -> None:
    found = sorted(lines(node) for _, node in nodes(ast.FunctionDef))
    assert found[int(0.95 * len(found))] <= FUNCTION


def test_public_names_say_what_they_are() -> None:
    public = [(file, node) for file, node in nodes(ast.ClassDef) if not node.name.startswith("_")]  # type: ignore[attr-defined]
    bare = [f"{file.name}:{node.name}" for file, node in public if ast.get_docstring(node) is None]  # type: ignore[arg-type,attr-defined]
    assert len(bare) <= 0.05 * len(public), bare


@pytest.mark.parametrize("word", ["utils", "helpers", "misc", "common"])
def test_no_room_is_named_after_nothing(word: str) -> None:
    assert not [file for file in SOURCES if word in file.stem]
