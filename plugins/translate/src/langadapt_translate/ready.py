"""Translations that exist already, from a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator

from langadapt.contracts import Context, Offer, PathSource, Resource, Sources, Translation, Translator
from langadapt.contracts.reading import Pinned, fetch, stable_hash, tables
from langadapt.errors import DataError


def _as_resource(value: Any) -> Any:
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list):
        return Resource(name="translations", format="parallel", sources=Sources(path=PathSource(paths=value)))
    return value


class Ready(Translator):
    """A table of sentences and their translations: columns ``source, target``, or named by the two language codes (``en, gl``).

    The sentence itself is the key; white space at its ends and its inner runs do not count.
    """

    name: ClassVar[str] = "file"
    version: ClassVar[str] = "1"

    data: Annotated[Resource, BeforeValidator(_as_resource)]
    licence: str = ""
    """Of the translations, as published; empty takes the resource's."""
    missing: Literal["refuse", "drop"] = "refuse"
    """A sentence without a translation stops the build, or is left empty, so that its pair is dropped."""

    def offer(self, source: str, target: str) -> Offer:
        fingerprint = stable_hash(self.data.pinned.identity) if isinstance(self.data.pinned, Pinned) else ""
        return Offer(f"file {self.data.origin or self.data.name}", True, "", self.licence or self.data.licence, True, fingerprint)

    def translate(self, texts: list[str], source: str, target: str, ctx: Context) -> Iterator[tuple[int, Translation]]:
        known: dict[str, str] = {}
        paths = fetch(self.data, ctx)
        for path in paths:
            for where, row in tables.rows(path):
                left = tables.column(row, (self.data.columns.get("source", "source"), source), where)
                known.setdefault(_key(left), tables.column(row, (self.data.columns.get("target", "target"), target), where))
        lost = [text for text in texts if _key(text) not in known]
        if lost and self.missing == "refuse":
            raise DataError(
                f"{len(lost):,} of {len(texts):,} sentences have no translation, the first is {lost[0][:80]!r}",
                where=", ".join(map(str, paths)),
                hint="Add them, or leave their pairs out with --translator '{use: file, data: …, missing: drop}'.",
            )
        for i, text in enumerate(texts):
            yield i, Translation(known.get(_key(text), ""))


def _key(text: str) -> str:
    return " ".join(text.split())
