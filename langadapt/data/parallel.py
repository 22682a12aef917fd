"""Pairs of words or sentences of two languages: dictionaries and parallel text."""

from __future__ import annotations

from collections.abc import Iterator

from langadapt.contracts.component import Context
from langadapt.data import tables
from langadapt.data.fetch import fetch
from langadapt.errors import DataError
from langadapt.manifests.resource import Resource


def read_parallel(resource: Resource, ctx: Context) -> list[tuple[str, str]]:
    """(source, target) sentences in the file's order; columns as in a dictionary.

    Raises:
        DataError: the columns cannot be told, or there is no pair.
    """
    found = list(read_pairs(resource, ctx))
    if not found:
        raise DataError("there is no pair of sentences", where=", ".join(map(str, fetch(resource, ctx))))
    return found


def read_pairs(resource: Resource, ctx: Context) -> Iterator[tuple[str, str]]:
    """Rows with text on both sides."""
    for path in fetch(resource, ctx):
        yield from _pairs(resource, tables.rows(path), ctx)


def _pairs(resource: Resource, rows: Iterator[tuple[str, dict[str, object]]], ctx: Context) -> Iterator[tuple[str, str]]:
    said = False
    for where, row in rows:
        names = [resource.columns.get(name, name) for name in ("source", "target")]
        if not set(names) <= set(row):
            if len(row) != 2:
                raise DataError(
                    f"no columns 'source' and 'target' (columns: {', '.join(row)})",
                    where=where,
                    hint="Map them in the manifest: columns: {source: NAME, target: NAME}.",
                )
            names = list(row)
            if not said:
                ctx.log.warning(
                    f"{where}: no columns 'source' and 'target': '{names[0]}' is read as the source (a dictionary's words of the base), "
                    f"'{names[1]}' as the target. "
                    "If these are words, the file lacks its line of names."
                )
            said = True
        source, target = (str(row[name]).strip() for name in names)
        if source and target:
            yield source, target
