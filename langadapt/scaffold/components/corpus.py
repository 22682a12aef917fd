"""Running text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from langadapt.contracts import Context, CorpusReader, Document, Resource
from langadapt.contracts.reading import fetch


class Example(CorpusReader):
    """Paragraphs of text files: lines up to an empty one are joined."""

    name: ClassVar[str] = "example"

    data: Resource

    def documents(self, ctx: Context) -> Iterator[Document]:
        for path in fetch(self.data, ctx):
            lines: list[str] = []
            with path.open(encoding="utf-8") as handle:
                for number, line in enumerate([*handle, ""], 1):
                    if line.strip():
                        lines.append(line.strip())
                    elif lines:
                        yield Document(" ".join(lines), f"{path.name}:{number - len(lines)}")
                        lines = []
