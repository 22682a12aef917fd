"""Tables with columns that an evaluator names itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from langadapt.contracts import Context, Resource
from langadapt.contracts.reading import fetch, tables
from langadapt.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

LEAST = 10
"""Rows of one group from which it is scored by itself."""


def read_columns(data: Resource, ctx: Context, names: Sequence[str], free: Sequence[str] = ()) -> Iterator[tuple[str, dict[str, str]]]:
    """(``file:line``, the named columns of a row, stripped); columns in `free` may be missing or empty.

    Raises:
        DataError: a column is missing, a cell is empty, or the file is no table.
    """
    for path in fetch(data, ctx):
        for where, row in tables.rows(path):
            yield where, {name: _cell(row.get(name), name, name in free, row, where, path) for name in (*names, *free)}


def _cell(value: object, name: str, free: bool, row: dict[str, object], where: str, path: Path) -> str:
    if name not in row and not free:
        known = ", ".join(map(str, row))[:300]
        raise DataError(f"there is no column '{name}' (there are: {known})", where=str(path), hint="Give the file that column.")
    text = "" if value is None else str(value).strip()
    if not text and not free:
        raise DataError(f"the cell of '{name}' is empty", where=where)
    return text
