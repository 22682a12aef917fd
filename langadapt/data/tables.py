"""Reading the tables and texts that people have: TSV, CSV, JSON Lines, Parquet and plain text, gzipped or not.

Everything wrong with a file is said with its name and line.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from langadapt.data.text_lines import MAX_LINE, lines
from langadapt.errors import DataError
from langadapt.settings_files import regular

__all__ = ["MAX_LINE", "column", "lines", "number", "rows", "suffix"]

csv.field_size_limit(MAX_LINE)

SUFFIXES = (".tsv", ".csv", ".jsonl", ".json", ".parquet", ".txt")

MAX_GROUP = 2_000_000_000
"""Bytes, unpacked, of one row group of a Parquet file, which is read as a whole."""


def suffix(path: Path) -> str:
    """The format of a file by its name, ``.gz`` taken off."""
    return Path(path.stem).suffix.lower() if path.suffix == ".gz" else path.suffix.lower()


Located = tuple[str, dict[str, Any]]
"""``file:line`` and the row that stands there."""


def rows(path: Path, numbered: bool = False) -> Iterator[Located]:
    """(``file:line``, row as a dict) of a table.

    TSV is split at tabs with no quoting at all; CSV follows RFC 4180, with commas or, where the header has none, semicolons; a ``.txt``
    whose first line has tabs is TSV.

    Args:
        path: the file.
        numbered: it has no header, and columns are called ``1``, ``2`` …

    Raises:
        DataError: an unknown format, a row with more or fewer fields than the header, an open quote, broken JSON or Parquet, text that
            is no Unicode.
    """
    kind = suffix(path)
    if kind in (".tsv", ".csv", ".txt"):
        yield from _separated(path, kind, numbered)
    elif kind in (".jsonl", ".json"):
        yield from _json_lines(path)
    elif kind == ".parquet":
        yield from _parquet(path)
    else:
        raise DataError(
            f"unknown table format '{kind or path.name}'", where=str(path), hint=f"Use one of: {', '.join(SUFFIXES)} (.gz too)."
        )


def _separated(path: Path, kind: str, numbered: bool) -> Iterator[Located]:
    header: list[str] | None = None
    for number, record in _csv(path) if kind == ".csv" else _tabbed(path, kind):
        if header is None:
            header = [str(i) for i in range(1, len(record) + 1)] if numbered else _header(record, path, number)
            if not numbered:
                continue
        if len(record) != len(header):
            shown = ", ".join(header)[:300]
            raise DataError(
                f"{len(record)} fields where the {'first row' if numbered else 'header'} has {len(header)} ({shown})",
                where=f"{path}:{number}",
                hint="A separator too many or too few stands in this line, or the file is separated by something else.",
            )
        yield f"{path}:{number}", dict(zip(header, record, strict=True))


def _header(record: Sequence[str], path: Path, number: int) -> list[str]:
    names = [name.strip() for name in record]
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"the column '{twice[:80]}' stands twice in the header", where=f"{path}:{number}", hint="Rename one of the two.")
    return names


def _tabbed(path: Path, kind: str) -> Iterator[tuple[int, list[str]]]:
    first = True
    for number, text in lines(path):
        if not text:
            continue
        if first and kind == ".txt" and "\t" not in text:
            raise DataError(
                "a table is needed, and the first line of this text has no tab",
                where=f"{path}:{number}",
                hint="Save it as TSV, CSV, JSON Lines or Parquet.",
            )
        first = False
        yield number, text.split("\t")


def _csv(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Records of a CSV file, strictly: a quote that is open, or stands inside a field, never swallows the rows behind it."""
    source = lines(path)
    first = next(source, None)
    if first is None:
        return
    separator = ";" if "," not in first[1] and ";" in first[1] else ","

    def texts() -> Iterator[str]:
        yield first[1] + "\n"
        yield from (text + "\n" for _, text in source)

    reader = csv.reader(texts(), delimiter=separator, strict=True)
    start = 1
    while True:
        try:
            record = next(reader, None)
        except csv.Error as error:
            raise DataError(
                f"not CSV: {error}, in the record that begins here",
                where=f"{path}:{start}",
                hint="Check the quotes of this line: one may be open. A quote inside a field is written twice.",
            ) from error
        if record is None:
            return
        if record:
            yield start, record
        start = reader.line_num + 1


def _json_lines(path: Path) -> Iterator[Located]:
    for number, text in lines(path):
        if not text.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = json.loads(text)
        except RecursionError as error:
            raise DataError("JSON that is nested too deeply", where=where, hint="One flat object a line.") from error
        except ValueError as error:
            raise DataError(f"not JSON: {error}", where=where, hint="One object a line.") from error
        if not isinstance(row, dict):
            raise DataError("not a JSON object", where=where, hint="One object a line.")
        if "\\ud" in text or "\\uD" in text:
            _check_unicode(row, where)
        yield where, row


def _check_unicode(row: dict[str, Any], where: str) -> None:
    """Half of a surrogate pair (an emoji that was cut in two) is valid JSON and no Unicode text."""
    for name, value in row.items():
        try:
            json.dumps([name, value], ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            shown = name.encode("utf-8", "replace").decode()[:80]
            raise DataError(
                f"column '{shown}' holds half of a surrogate pair, which is no Unicode text",
                where=where,
                hint="The text was cut inside an emoji: take that half out.",
            ) from error


def _parquet(path: Path) -> Iterator[Located]:
    import pyarrow
    import pyarrow.parquet

    regular(path, DataError)
    number = 0
    try:
        file = pyarrow.parquet.ParquetFile(path)
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).total_byte_size
            if size > MAX_GROUP:
                raise DataError(
                    f"row group {group + 1} has {size:,} bytes unpacked, and at most {MAX_GROUP:,} are read at once",
                    where=str(path),
                    hint="Write the file with smaller row groups.",
                )
        for batch in file.iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                number += 1
                long = next((name for name, value in row.items() if isinstance(value, str) and len(value) > MAX_LINE), None)
                if long is not None:
                    raise DataError(f"column '{long}' has over {MAX_LINE:,} characters", where=f"{path}:row {number}")
                yield f"{path}:row {number}", row
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        after = f" after row {number}" if number else ""
        raise DataError(
            f"cannot be read as Parquet{after}: {' '.join(str(error).split())[:200]}", where=str(path), hint="Fetch or write it again."
        ) from error


def column(row: dict[str, Any], names: tuple[str, ...], where: str) -> str:
    """The text of the first of `names` that the row has, stripped.

    Raises:
        DataError: none of the columns is there (naming those that are), or it is empty or not text.
    """
    for name in names:
        if name in row:
            value = row[name]
            if not isinstance(value, str) or not value.strip():
                raise DataError(f"column '{name}' is empty or not text", where=where)
            return value.strip()
    raise DataError(f"no column '{names[0]}' (columns: {', '.join(row)[:300]})", where=where, hint="Rename the column.")


def number(value: Any, low: float, high: float, what: str, where: str, hint: str = "Correct the row.") -> float:
    """A number within a range.

    Raises:
        DataError: not a number, or outside [low, high].
    """
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{what} '{str(value)[:80]}' is not a number", where=where, hint=hint) from None
    if not low <= found <= high:
        raise DataError(f"{what} {found:g} is outside {low:g} to {high:g}", where=where, hint=hint)
    return found
