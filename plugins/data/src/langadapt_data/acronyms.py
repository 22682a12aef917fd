"""Acronyms and their expansions, harvested from running text."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from langadapt.errors import DataError
from langadapt.manifests.resource import Resource
from langadapt.registry.component import Component, Context
from langadapt_data.corpora import ResourceText

SHORT = re.compile(r"\(([A-Za-z][A-Za-z0-9/&-]{1,9})\)")
LISTED = re.compile(r"^([A-Z][A-Za-z0-9/&-]{1,9})\s*(?:\t|\s{2,}|:\s)\s*([A-Z][\w ,/'()-]{4,80})$")


class Acronyms(Component):
    """(acronym, expansion) as anchor and positive: "Access Point Name (APN)" in running text, and lines of a list of abbreviations.

    Schwartz & Hearst 2003: the shortest run of words before the parenthesis whose letters hold the acronym's in order, the first letter
    at the beginning of a word.  An acronym keeps the expansion found most often; one with several as frequent ones is left out.
    """

    kind: ClassVar[str] = "pairs"
    name: ClassVar[str] = "acronyms"
    version: ClassVar[str] = "1"
    columns: ClassVar[tuple[str, ...]] = ("anchor", "positive")

    data: Resource
    least: Annotated[int, Field(ge=1)] = 1
    """Finds that an expansion needs."""

    def pairs(self, translator: Any, ctx: Context) -> Iterator[dict[str, Any]]:
        found = harvest(document.text for document in ResourceText(data=self.data).documents(ctx))
        kept = 0
        for short, counts in sorted(found.items()):
            (first, often), *rest = counts.most_common(2)
            if often >= self.least and (not rest or rest[0][1] < often):
                kept += 1
                yield {"anchor": short, "positive": first}
        ctx.log.info(f"{kept:,} acronyms of {len(found):,} with one clear expansion")
        if kept < 2:
            raise DataError(
                f"{kept} acronyms with an expansion", where=self.data.name, hint="Such text is needed: 'Access Point Name (APN)'."
            )


def harvest(texts: Any) -> dict[str, Counter[str]]:
    """Acronym → expansions with their counts."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for text in texts:
        listed = LISTED.match(text)
        if listed and listed[1].upper() == listed[1] and fits(listed[1], listed[2]):
            found[listed[1]][listed[2].strip()] += 1
        for match in SHORT.finditer(text):
            long = expansion(match[1], text[: match.start()])
            if long:
                found[match[1]][long] += 1
    return dict(found)


def expansion(short: str, before: str) -> str | None:
    """The words in front of a parenthesis that spell an acronym, or None.

    At most min(|A| + 5, 2·|A|) words are looked at, as published.
    """
    letters = [c for c in short.casefold() if c.isalnum()]
    if sum(c.isupper() for c in short) < 2 or not letters:
        return None
    words = before.split()[-min(len(letters) + 5, 2 * len(letters)) :]
    window = " ".join(words)
    place = len(window) - 1
    for i, letter in reversed(list(enumerate(letters))):
        while place >= 0 and (window[place].casefold() != letter or (i == 0 and place > 0 and window[place - 1].isalnum())):
            place -= 1
        if place < 0:
            return None
        place -= 1
    long = window[place + 1 :].strip(" ,;:.-")
    return long if len(long) > len(short) and short not in long.split() else None


def fits(short: str, long: str) -> bool:
    """Whether a listed expansion begins with the acronym's first letter and holds the others in order."""
    rest = iter(long.casefold())
    return long[:1].casefold() == short[:1].casefold() and all(c in rest for c in short.casefold() if c.isalnum())
