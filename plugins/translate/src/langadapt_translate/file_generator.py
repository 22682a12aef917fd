"""Texts that were generated before, looked up in a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from langadapt.contracts import Context, Generator, Resource
from langadapt.contracts.reading import fetch, tables
from langadapt.errors import DataError


class FileGenerator(Generator):
    """Answers from a table with the columns ``prompt`` and ``answer``, made by whatever means.

    Raises DataError for a prompt that the table has no answer for, naming it.
    """

    name: ClassVar[str] = "file"

    data: Resource

    def fingerprint(self) -> str:
        return str(self.data.identity())

    def generate(self, prompts: list[str], ctx: Context) -> Iterator[tuple[int, str]]:
        known: dict[str, str] = {}
        for path in fetch(self.data, ctx):
            for where, row in tables.rows(path):
                if not isinstance(row.get("prompt"), str) or not isinstance(row.get("answer"), str):
                    raise DataError("a row has no 'prompt' and 'answer'", where=where)
                known[row["prompt"]] = row["answer"]
        for place, prompt in enumerate(prompts):
            if prompt not in known:
                raise DataError(f"there is no answer to {prompt[:80]!r}", where=self.data.name, hint="Add its row, or ask a model.")
            yield place, known[prompt]
