"""Bilingual dictionaries: two columns of single words."""

from __future__ import annotations

from langadapt.contracts import Context, Resource
from langadapt.contracts.reading import fetch, read_pairs
from langadapt.errors import DataError


def read_dictionary(resource: Resource, ctx: Context, lower: bool = True) -> list[tuple[str, str]]:
    """(word of the old language, word of the new one), single words, in lower case if asked, in the file's order, each pair once
    (where WECHSEL's authors count a line that comes again).

    The columns are ``source`` and ``target``, or what the resource's `columns` maps them to, or the two that there are.

    Raises:
        DataError: the columns cannot be told, or no pair of single words is there.
    """
    pairs = ((a.lower(), b.lower()) if lower else (a, b) for a, b in read_pairs(resource, ctx))
    found = dict.fromkeys(pair for pair in pairs if not {" ", "\t"} & set("".join(pair)))
    if not found:
        raise DataError(
            "there is no pair of single words",
            where=", ".join(map(str, fetch(resource, ctx))),
            hint="A dictionary has a word in each of two columns.",
        )
    return list(found)
