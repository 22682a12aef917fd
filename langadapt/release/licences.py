"""What the licences of base, data and engines, as their owners state them, mean for a release."""

from __future__ import annotations

from collections.abc import Iterable

TAGS = {
    "MIT": "mit",
    "Apache-2.0": "apache-2.0",
    "CC BY 4.0": "cc-by-4.0",
    "CC BY-SA 4.0": "cc-by-sa-4.0",
    "CC0 1.0": "cc0-1.0",
}
"""Licence → the Hub's tag for it."""

STRICTER = ("CC0 1.0", "MIT", "Apache-2.0", "CC BY 4.0")
"""Licences that allow redistribution with at most a notice, the least demanding first."""


def forbids(licence: str) -> str | None:
    """Why a licence stands in the way of redistributing what was made with it, or None."""
    text = licence.lower()
    if "NC" in licence or "non-commercial" in text:
        return "is non-commercial"
    if "not stated" in text:
        return "states no licence, which gives no right to pass it on"
    if "-ND" in licence:
        return "forbids derivatives"
    return None


def tag(licences: Iterable[str]) -> str:
    """The Hub's licence tag for a release of all these: one licence's own, the strictest of permissive ones, else ``other``."""
    found = set(licences)
    if len(found) == 1 and (only := next(iter(found))) in TAGS:
        return TAGS[only]
    if found and found <= set(STRICTER):
        return TAGS[max(found, key=STRICTER.index)]
    return "other"


def remarks(licences: Iterable[str]) -> list[str]:
    """What a reader of the card must know."""
    found = set(licences)
    told = []
    if any(forbids(text) == "is non-commercial" for text in found):
        told.append("At least one source is **non-commercial**: do not use this model commercially without asking its owners.")
    if any("not stated" in text for text in found):
        told.append("At least one source **states no licence**: clear it before you redistribute this model.")
    if any("SA" in text for text in found):
        told.append("At least one source asks for **share-alike**.")
    return told
