"""Acronyms and their expansions, found in running text (Schwartz & Hearst 2003, "A simple algorithm for identifying abbreviation
definitions in biomedical text").
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

SHORT = re.compile(r"\(([A-Za-z][A-Za-z0-9/&-]{1,9})\)")
LISTED = re.compile(r"^([A-Z][A-Za-z0-9/&-]{1,9})(?:\t|  | ?: )([A-Z][\w ,/'()-]{4,80})$")
GAP = re.compile(r"\s{2,}|\t")


def acronyms(texts: Iterable[str]) -> dict[str, Counter[str]]:
    """Acronym → expansions with their counts."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for text in texts:
        listed = LISTED.match(GAP.sub("  ", text[:200].strip()))
        if listed and listed[1].upper() == listed[1] and fits(listed[1], listed[2]):
            found[listed[1]][listed[2].strip()] += 1
        for match in SHORT.finditer(text):
            long = expansion(match[1], text[: match.start()])
            if long:
                found[match[1]][long] += 1
    return dict(found)


def expansion(short: str, before: str) -> str | None:
    """The shortest run of words before a parenthesis that holds the acronym's letters in order, the first at the start of a word; or None.

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
