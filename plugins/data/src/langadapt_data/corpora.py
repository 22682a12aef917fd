"""Running text from files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from langadapt.contracts import Context, CorpusReader, Document, PathSource, Resource, Sources
from langadapt.contracts.reading import fetch, tables
from langadapt.errors import DataError


class ResourceText(CorpusReader):
    """A text resource: plain text, one document a line, or tables of which every text column is read.

    Formats: ``.txt`` (one document a line), ``.tsv``, ``.csv``, ``.jsonl``, ``.parquet``, each also gzipped.
    """

    name: ClassVar[str] = "resource"

    data: Resource
    fields: list[str] = []
    """Columns of a table to read; empty means ``text``, or every sentence column of a pair file."""

    def documents(self, ctx: Context) -> Iterator[Document]:
        for path in fetch(self.data, ctx):
            if tables.suffix(path) in (".txt", ""):
                for number, text in tables.lines(path):
                    yield Document(text, f"{path.name}:{number}")
            else:
                yield from self._table(path)

    def _table(self, path: Path) -> Iterator[Document]:
        for where, row in tables.rows(path):
            names = self.fields or self._names(row)
            present = [name for name in names if name in row]
            if not present:
                raise DataError(
                    f"no text column (there are: {', '.join(row)[:300]})",
                    where=where,
                    hint=f"Say which it is: {self.data.option('columns', '{text: NAME}')}.",
                )
            strange = next((name for name in present if row[name] is not None and not isinstance(row[name], str)), None)
            if strange is not None:
                raise DataError(f"column '{strange}' holds {row[strange]!r}"[:120] + ", no text", where=where)
            found = [row[name] or "" for name in present]  # null is an empty text
            origin = f"{path.name}:{where.rsplit(':', 1)[-1]}"
            yield from (Document(text, origin) for text in found)

    def _names(self, row: dict[str, Any]) -> list[str]:
        if "text" in self.data.columns:
            return [self.data.columns["text"]]
        return ["text"] if "text" in row else [name for name in TEXT_COLUMNS if name in row]


TEXT_COLUMNS = ("premise", "hypothesis", "sentence1", "sentence2", "anchor", "positive", "negative", "question", "answer")


def _as_resource(value: Any) -> Any:
    """Paths given outright become a local resource."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list):
        return Resource(name="text-files", format="text", sources=Sources(path=PathSource(paths=value)))
    return value


class TextFiles(ResourceText):
    """Text files on this machine, named in the recipe: ``{use: text-files, data: [a.txt.gz, b.txt]}``."""

    name: ClassVar[str] = "text-files"

    data: Annotated[Resource, BeforeValidator(_as_resource), Field()]
