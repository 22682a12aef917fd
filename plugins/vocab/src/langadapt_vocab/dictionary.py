"""Bilingual dictionaries and parallel sentences: two columns of text."""

from __future__ import annotations

from collections.abc import Iterator

from langadapt.contracts import Context, Resource
from langadapt.contracts.reading import fetch, tables
from langadapt.errors import DataError


def read_dictionary(resource: Resource, ctx: Context) -> list[tuple[str, str]]:
    """(word of the old language, word of the new one), single words in lower case, in the file's order, each pair once.

    The columns are ``source`` and ``target``, or what the resource's `columns` maps them to, or the two that there are.

    Raises:
        DataError: the columns cannot be told, or no pair of single words is there.
    """
    pairs = ((a.lower(), b.lower()) for a, b in read_pairs(resource, ctx))
    found = dict.fromkeys(pair for pair in pairs if not {" ", "\t"} & set("".join(pair)))
    if not found:
        raise DataError(
            "there is no pair of single words",
            where=", ".join(map(str, fetch(resource, ctx))),
            hint="A dictionary has a word in each of two columns.",
        )
    return list(found)


def read_parallel(resource: Resource, ctx: Context) -> list[tuple[str, str]]:
    """(sentence of the old language, sentence of the new one) in the file's order; columns as in a dictionary.

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
                    f"{where}: no columns 'source' and 'target': '{names[0]}' is read as the base's language, '{names[1]}' as the new one. "
                    "If these are words, the file lacks its line of names."
                )
            said = True
        source, target = (str(row[name]).strip() for name in names)
        if source and target:
            yield source, target
