"""Texts, or pairs of texts, with a label: tables for classification."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from langadapt.contracts.component import Context
from langadapt.data.fetch import fetch
from langadapt.data.resource_rows import NAMES, ResourceRows
from langadapt.errors import DataError
from langadapt.manifests.resource import Resource

PAIRS = (("premise", "hypothesis"), ("sentence1", "sentence2"))


@dataclass(frozen=True)
class Labelled:
    """Texts, or pairs of texts, and their labels."""

    texts: list[tuple[str, ...]]
    labels: list[str]


def read(data: Resource, ctx: Context) -> Labelled:
    """All rows of a classification resource.

    Raises:
        DataError: a missing column, a row without text or label (unless such rows are dropped), files of texts beside files of pairs,
            or no rows at all.
    """
    found, reader = Labelled([], []), ResourceRows(data)
    for path in fetch(data, ctx):
        names = _texts_of(data, path)
        for where, row in reader.read(path, (*names, "label")):
            given = "" if row["label"] is None else str(row["label"]).strip()
            if not given:
                reader.incomplete("column 'label' is empty", where)
                continue
            texts = reader.texts(row, names, where)
            if texts is not None:
                found.texts.append(texts)
                found.labels.append(data.labels.get(given, given))
    reader.say(ctx.log)
    if not found.labels:
        raise DataError("there are no labelled rows", where=data.name)
    if len({len(texts) for texts in found.texts}) > 1:
        raise DataError("some files hold single texts and others pairs", where=data.name)
    return found


def _texts_of(data: Resource, path: Path) -> tuple[str, ...]:
    """The columns of a file that hold its texts: one, or a pair."""
    from langadapt.data import tables

    stated = data.columns
    for pair in PAIRS:
        if all(name in stated for name in pair):
            return pair
    if "text" in stated or any(name.isdigit() for name in stated.values()):
        return ("text",)
    first = next(tables.rows(path), None)
    keys = first[1].keys() if first is not None else ()
    for pair in PAIRS:
        if all(any(name in keys for name in NAMES[side]) for side in pair):
            return pair
    return ("text",)
