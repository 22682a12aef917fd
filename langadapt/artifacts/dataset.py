"""Corpus and Pairs on disk: one Arrow file that ``datasets`` maps into memory, and a small description."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langadapt.artifacts.files import read_json, write_json
from langadapt.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

ROWS, ABOUT = "rows.arrow", "about.json"

TEXTS = ("text", "premise", "hypothesis", "sentence1", "sentence2", "anchor", "positive", "negative", "source", "target")
"""Standard columns of running text; others say where a row came from."""


@dataclass(frozen=True)
class Table:
    """A dataset and what is known of it (counts, what was dropped, remarks for the card)."""

    rows: Dataset
    about: dict[str, Any]

    def texts(self) -> Iterator[str]:
        """Every text of every text column, row by row."""
        names = text_columns(self.rows)
        for row in self.rows:
            for name in names:
                if row[name]:  # a triplet without a hard negative has none
                    yield row[name]


def text_columns(rows: Dataset) -> list[str]:
    """The columns that hold running text."""
    return [name for name in rows.column_names if name in TEXTS]


def save(rows: Dataset, about: dict[str, Any], folder: Path) -> None:
    """Write rows and description; the same rows always give the same bytes.

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
    write_json(folder / ABOUT, {"rows": len(rows), "columns": rows.column_names, **about})


def load(folder: Path) -> Table:
    """Map a saved table into memory."""
    from datasets import Dataset

    return Table(Dataset.from_file(str(folder / ROWS)), read_json(folder / ABOUT))


def from_rows(rows: Iterable[dict[str, Any]]) -> Dataset:
    """A dataset from plain rows, in memory (columns from the first row)."""
    from datasets import Dataset

    return Dataset.from_list(list(rows))
