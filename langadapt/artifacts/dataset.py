"""Corpus and Pairs on disk: one Arrow file that ``datasets`` maps into memory, and a small description."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langadapt.contracts.data import Columns, Role
from langadapt.errors import DataError
from langadapt.files import read_json, write_json

if TYPE_CHECKING:
    from datasets import Dataset

ROWS, ABOUT = "rows.arrow", "about.json"

TEXTS = ("text", "premise", "hypothesis", "sentence1", "sentence2", "anchor", "positive", "negative", "source", "target")
"""Columns of running text in tables that come without a word of what their columns are."""


@dataclass(frozen=True)
class Table:
    """A dataset and what is known of it (counts, what was dropped, remarks for the card)."""

    rows: Dataset
    about: dict[str, Any]

    @property
    def roles(self) -> dict[str, Role]:
        """What the columns are that objectives may read."""
        told = self.about.get("roles") or {name: "text" for name in self.rows.column_names if name in TEXTS}  # of 0.1
        return {name: Role(role) for name, role in told.items()}

    def texts(self) -> Iterator[str]:
        """Every text of every text column, row by row."""
        roles = self.roles
        for row in self.rows:
            for name, role in roles.items():
                if not row[name]:  # a triplet without a hard negative has none
                    continue
                if role is Role.TEXT:
                    yield row[name]
                elif role is Role.TEXTS:
                    yield from row[name]


def save(rows: Dataset, roles: Columns, about: dict[str, Any], folder: Path) -> None:
    """Write rows and description; the same rows always give the same bytes.

    Args:
        roles: what the columns are that objectives may read; others say where a row came from.

    Raises:
        DataError: there are no rows.
    """
    import pyarrow

    if len(rows) == 0:
        raise DataError("no rows are left", hint="Check the input files and what the selectors dropped.")
    table = rows.with_format("arrow")[:]
    table = table.replace_schema_metadata(None).combine_chunks()
    with pyarrow.OSFile(str(folder / ROWS), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=10_000)
    told = {name: role.value for name, role in roles.items() if name in rows.column_names}
    write_json(folder / ABOUT, {"rows": len(rows), "columns": rows.column_names, "roles": told, **about})


def load(folder: Path) -> Table:
    """Map a saved table into memory."""
    from datasets import Dataset

    return Table(Dataset.from_file(str(folder / ROWS)), read_json(folder / ABOUT))


def from_rows(rows: Iterable[dict[str, Any]]) -> Dataset:
    """A dataset from plain rows, in memory (columns from the first row)."""
    from datasets import Dataset

    return Dataset.from_list(list(rows))
