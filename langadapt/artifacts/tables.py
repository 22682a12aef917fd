"""Reading the tables and texts that people have: TSV, CSV, JSON Lines, Parquet and plain text, gzipped or not.

Everything wrong with a file is said with its name and line.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langadapt.errors import DataError

MAX_LINE = 1_000_000
"""Characters in one line; more is taken for a broken file."""

csv.field_size_limit(MAX_LINE)

SUFFIXES = (".tsv", ".csv", ".jsonl", ".json", ".parquet", ".txt")


def suffix(path: Path) -> str:
    """The format of a file by its name, ``.gz`` taken off."""
    return Path(path.stem).suffix.lower() if path.suffix == ".gz" else path.suffix.lower()


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """(1-based number, text without line end) of a UTF-8 text file.

    Raises:
        DataError: missing, not UTF-8 (naming the line), truncated gzip, or a line over :data:`MAX_LINE`.
    """
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as handle:
            for number, raw in enumerate(handle, 1):
                text = raw.decode("utf-8").rstrip("\r\n")
                if len(text) > MAX_LINE:
                    raise DataError(
                        f"a line of {len(text):,} characters (at most {MAX_LINE:,})",
                        where=f"{path}:{number}",
                        hint="Break the text into one document or sentence a line.",
                    )
                yield number, text.removeprefix("\ufeff" if number == 1 else "")
    except UnicodeDecodeError as error:
        raise DataError(
            f"byte 0x{error.object[error.start]:02x} at column {error.start + 1} is not valid UTF-8",
            where=f"{path}:{number}",
            hint="Convert the file to UTF-8 (iconv -f ENCODING -t UTF-8).",
        ) from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"the gzip file is broken or truncated after line {number}", where=str(path)) from error
    except FileNotFoundError as error:
        raise DataError("there is no such file", where=str(path)) from error
    except IsADirectoryError as error:
        raise DataError("is a folder, a file is needed", where=str(path)) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=str(path)) from error


def rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(``file:line``, row as a dict) of a table with a header.

    Raises:
        DataError: an unknown format, a row with more or fewer fields than the header, or broken JSON.
    """
    kind = suffix(path)
    if kind in (".tsv", ".csv"):
        yield from _separated(path, kind)
    elif kind in (".jsonl", ".json"):
        yield from _json_lines(path)
    elif kind == ".parquet":
        yield from _parquet(path)
    else:
        raise DataError(
            f"unknown table format '{kind or path.name}'", where=str(path), hint=f"Use one of: {', '.join(SUFFIXES[:-1])} (.gz too)."
        )


def _separated(path: Path, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    source = lines(path)
    header: list[str] | None = None
    records: Iterator[tuple[int, list[str]]]
    # TSV is split at tabs with no quoting at all; CSV follows RFC 4180 and may spread a field over lines.
    if kind == ".tsv":
        records = ((number, text.split("\t")) for number, text in source if text)
    else:
        records = _csv(path, source)
    for number, record in records:
        if header is None:
            header = [name.strip() for name in record]
            continue
        if len(record) != len(header):
            raise DataError(f"{len(record)} fields where the header has {len(header)} ({', '.join(header)})", where=f"{path}:{number}")
        yield f"{path}:{number}", dict(zip(header, record, strict=True))


def _csv(path: Path, source: Iterator[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(text + "\n" for _, text in source)
    try:
        yield from ((reader.line_num, record) for record in reader if record)
    except csv.Error as error:
        raise DataError(
            f"not CSV: {error}", where=f"{path}:{reader.line_num}", hint="Check the quotes around this line: one may be open."
        ) from error


def _json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, text in lines(path):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except ValueError as error:
            raise DataError(f"not JSON: {error}", where=f"{path}:{number}", hint="One object a line.") from error
        if not isinstance(row, dict):
            raise DataError("not a JSON object", where=f"{path}:{number}", hint="One object a line.")
        yield f"{path}:{number}", row


def _parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read as Parquet: {error}", where=str(path)) from error
    number = 0
    for batch in file.iter_batches():
        for row in batch.to_pylist():
            number += 1
            yield f"{path}:row {number}", row


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
    raise DataError(
        f"no column '{names[0]}' (columns: {', '.join(row)})",
        where=where,
        hint=f"Rename the column, or map it in the language manifest: columns: {{{names[0]}: NAME}}.",
    )


def number(value: Any, low: float, high: float, what: str, where: str) -> float:
    """A number within a range.

    Raises:
        DataError: not a number, or outside [low, high].
    """
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise DataError(f"{what} '{value}' is not a number", where=where) from None
    if not low <= found <= high:
        raise DataError(
            f"{what} {found:g} is outside {low:g} to {high:g}",
            where=where,
            hint="Correct the row, or state the range with --set lang.resources.NAME.score_range='[LOW, HIGH]'.",
        )
    return found
