"""Rows of a resource's tables under our column names, whatever the file calls them.

Published files call the same thing by many names (``sentence1`` is ``premise`` in one place and ``sentence_A`` in another), leave rows
without a label and have cells that are null.  What is missing is said once with its line, and with the option that mends it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langadapt.contracts.component import Log
from langadapt.data import tables
from langadapt.data.seen import row_key
from langadapt.errors import DataError
from langadapt.manifests.resource import Resource

LEFT = ("sentence1", "sentence_1", "sentence_A", "sent1", "text1", "s1")
RIGHT = ("sentence2", "sentence_2", "sentence_B", "sent2", "text2", "s2")

NAMES: dict[str, tuple[str, ...]] = {
    "premise": ("premise", *LEFT),
    "hypothesis": ("hypothesis", *RIGHT),
    "sentence1": LEFT,
    "sentence2": RIGHT,
    "label": ("label", "gold_label", "entailment_label", "entailment_judgment"),
    "score": ("score", "similarity_score", "similarity", "relatedness_score", "gold_score"),
    "anchor": ("anchor", "query", "question"),
    "positive": ("positive", "passage", "document", "explanation", "answer"),
    "text": ("text", "sentence", "tweet", "content"),
}
"""Our columns → names that published files give them, tried in this order where a manifest states none."""


@dataclass
class ResourceRows:
    """Reads one resource; counts what it leaves out."""

    data: Resource
    dropped: Counter[str] = field(default_factory=Counter)
    _called: dict[str, str] = field(default_factory=dict)
    """Our columns → what the file at hand calls them, for what is said of it."""

    def read(self, path: Path, wanted: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
        """(``file:line``, the wanted columns' cells under our names) of each row of a table.

        Columns that a manifest states as numbers are places in a file without a header.

        Raises:
            DataError: what :func:`langadapt.data.tables.rows` refuses; wanted columns that are not there, all of them named.
        """
        stated = self.data.columns
        numbered = any(name.isdigit() for name in stated.values())
        places: dict[tuple[str, ...], dict[str, str]] = {}
        for where, row in tables.rows(path, numbered):
            keys = tuple(row)
            if keys not in places:
                places[keys] = self._places(keys, wanted, where)
            self._called = places[keys]
            yield where, {name: row[place] for name, place in places[keys].items()}

    def _places(self, keys: tuple[str, ...], wanted: tuple[str, ...], where: str) -> dict[str, str]:
        stated = self.data.columns
        found = {name: self._place(name, keys) for name in wanted}
        missing = [name for name, place in found.items() if place is None]
        if missing:
            mapping = ", ".join(f"{name}: {stated.get(name, 'NAME')}" for name in missing)
            many = "columns" if len(missing) > 1 else "column"
            looked = [stated.get(name, name) for name in missing]
            raise DataError(
                f"no {many} {', '.join(repr(name) for name in looked)} (there are: {', '.join(keys)[:300]})",
                where=where if tables.suffix(Path(where.rpartition(":")[0])) in (".jsonl", ".json") else f"{where.rpartition(':')[0]}:1",
                hint=f"Say what the file calls them: {self.data.option('columns', f'{{{mapping}}}')}; a number where it has no header.",
            )
        return {name: place for name, place in found.items() if place is not None}

    def _place(self, name: str, keys: tuple[str, ...]) -> str | None:
        if name in self.data.columns:
            return self.data.columns[name] if self.data.columns[name] in keys else None
        return next((other for other in NAMES.get(name, (name,)) if other in keys), None)

    def texts(self, row: Mapping[str, Any], names: tuple[str, ...], where: str) -> tuple[str, ...] | None:
        """The texts of a row's columns, stripped; None for a row to leave out.

        Raises:
            DataError: a cell is null, empty or no text, and the resource does not say that such rows are to be dropped.
        """
        found = []
        for name in names:
            value = row[name]
            if not isinstance(value, str) or not value.strip():
                what = "is null" if value is None else "is empty" if isinstance(value, str) else f"holds {value!r}"[:80] + ", no text"
                self.incomplete(f"column '{self._called.get(name, name)}' {what}", where)
                return None
            found.append(value.strip())
        if self.data.leave_out and row_key(tuple(found)) in self.data.leave_out:
            self.dropped["seen"] += 1
            return None
        return tuple(found)

    def incomplete(self, what: str, where: str) -> None:
        """Count a row that lacks something, where such rows are dropped.

        Raises:
            DataError: they are not.
        """
        if self.data.incomplete == "drop":
            self.dropped["incomplete"] += 1
            return
        raise DataError(what, where=where, hint=f"Correct the row, or leave such rows out: {self.data.option('incomplete', 'drop')}.")

    def say(self, log: Log) -> None:
        """One warning on what was left out."""
        for what, count in self.dropped.items():
            log.warning(f"{self.data.name}: {count:,} {what} rows are left out")
