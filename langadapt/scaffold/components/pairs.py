"""Rows of texts that belong together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from langadapt.contracts import Columns, Context, PairReader, Resource, Role, Translator
from langadapt.contracts.reading import read_pairs


class Example(PairReader):
    """A parallel table's two sides, each the other's positive."""

    name: ClassVar[str] = "example"
    columns: ClassVar[Columns] = {"anchor": Role.TEXT, "positive": Role.TEXT}

    data: Resource

    def pairs(self, translator: Translator | None, ctx: Context) -> Iterator[dict[str, Any]]:
        for source, target in read_pairs(self.data, ctx):
            yield {"anchor": source, "positive": target}
