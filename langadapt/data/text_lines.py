"""Lines of text files as people have them: UTF-8 or, by their mark, UTF-16, gzipped or not, each within a bound.

Bounds come before work: a pipe, a device, a line that never ends and a gzip bomb are refused by name and line, in little memory.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from langadapt.errors import DataError
from langadapt.settings_files import regular

MAX_LINE = 1_000_000
"""Characters in one line; more is taken for a broken file."""

WIDE = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
"""Marks at the start of a file by which UTF-16 is known (spreadsheets write it as "Unicode text")."""


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """(1-based number, text without line end) of a text file.

    Raises:
        DataError: missing, no regular file, not the encoding it seems to be (naming the line), a NUL character, a damaged or truncated
            gzip, or a line over :data:`MAX_LINE`.
    """
    regular(path, DataError)
    number = 0
    try:
        with _opened(path) as handle:
            for number, text in enumerate(_bounded(handle), 1):
                if len(text) > MAX_LINE:
                    raise DataError(
                        f"a line of over {MAX_LINE:,} characters",
                        where=f"{path}:{number}",
                        hint="Break the text into one document or sentence a line.",
                    )
                if "\0" in text:
                    raise DataError(
                        f"a NUL character at column {text.index(chr(0)) + 1}",
                        where=f"{path}:{number}",
                        hint="This is no plain text, or UTF-16 without its mark: convert it (iconv -f UTF-16LE -t UTF-8).",
                    )
                yield number, text.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"byte 0x{error.object[error.start]:02x} at column {error.start + 1} is not valid {error.encoding.upper()}",
            where=f"{path}:{number + 1}",
            hint="Convert the file to UTF-8 (iconv -f ENCODING -t UTF-8).",
        ) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"the gzip file is broken or truncated after line {number}", where=str(path), hint="Fetch or compress it again."
        ) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=str(path)) from error


def _opened(path: Path) -> IO[bytes]:
    found: Any = gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # noqa: SIM115 - its caller closes it
    return found  # type: ignore[no-any-return]


def _bounded(handle: IO[bytes]) -> Iterator[str]:
    """Decoded lines, of which none is read far beyond the bound."""
    start = handle.read(len(codecs.BOM_UTF8))
    wide = WIDE.get(start[:2])
    if wide is not None:
        handle.seek(2)
        reader = io.TextIOWrapper(handle, encoding=wide, newline="\n")
        while text := reader.readline(MAX_LINE + 2):
            yield text
        return
    if start != codecs.BOM_UTF8:
        handle.seek(0)
    while raw := handle.readline(4 * (MAX_LINE + 2)):
        yield raw.decode("utf-8")
