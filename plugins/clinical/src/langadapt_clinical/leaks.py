"""A check for what looks like a person's identifiers, before anything is trained on them."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from langadapt.contracts import Context, Selector
from langadapt.contracts.reading import TEXTS
from langadapt.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

PATTERNS = {
    "name": re.compile(r"\b(?:Dr|Mr|Mrs|Ms|Miss|Prof)\.? [A-Z][a-z]+(?:[ -][A-Z][a-z]+)?\b(?!')"),
    "e-mail": re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"),
    "phone": re.compile(r"(?<![\d.-])(?:\+?1[ .-]?)?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\d-])"),
    "record number": re.compile(r"\b(?:MRN|medical record (?:number|no\.?)|chart (?:number|no\.?)|record #)\s*[:#]?\s*[A-Z]?\d{4,}", re.I),
    "social security number": re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])"),
    "date of birth": re.compile(r"\b(?:DOB|date of birth|born(?: on)?)\s*[:#]?\s*\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}", re.I),
    "address": re.compile(r"\b\d{1,5} (?:[A-Z][a-z]+ ){1,3}(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive)\b\.?"),
}
"""What is looked for.  A name is looked for behind a title: names alone are beyond any pattern."""

INVENTED = re.compile(r"\b(?:Dr|Mr|Mrs|Ms|Miss|Prof)\.? (?:ABC|XYZ|X|Y|Sample|Smith|Jones|Doe|[A-Z])\b")
"""Stand-ins that transcribers put for names."""
PLACES = 5
"""Named for each sort."""


class LeakCheck(Selector):
    """Refuse a corpus with text that looks like identifiers, unless told to drop those rows or to allow them.

    Looks for names behind a title, e-mail addresses, phone, record and social security numbers, dates of birth and street addresses
    (sorts of the HIPAA Safe Harbor list, 45 CFR 164.514).  It finds what is plain to see; it is no de-identification, and an empty
    answer is no proof.
    """

    name: ClassVar[str] = "leak-check"
    version: ClassVar[str] = "1"

    action: Literal["refuse", "drop", "allow"] = "refuse"

    def select(self, rows: Dataset, encoder: Any, ctx: Context) -> Dataset:
        columns = [name for name in rows.column_names if name in TEXTS]
        origins = rows["origin"] if "origin" in rows.column_names else [f"row {i + 1}" for i in range(len(rows))]
        counts: Counter[str] = Counter()
        places: dict[str, list[str]] = {}
        clean = []
        for i, texts in enumerate(zip(*(rows[name] for name in columns), strict=True)):
            found = [sort for text in texts for sort in leaks(text or "")]
            counts.update(found)
            for sort in found:
                where = places.setdefault(sort, [])
                if len(where) < PLACES and origins[i] not in where:
                    where.append(origins[i])
            if not found:
                clean.append(i)
        if not counts:
            ctx.log.info("leak check: nothing that looks like an identifier")
            return rows
        told = "; ".join(f"{count:,} × {sort} ({', '.join(places[sort])})" for sort, count in counts.most_common())
        if self.action == "refuse":
            raise DataError(
                f"the corpus holds what looks like people's identifiers: {told}",
                hint="De-identify it first. Or leave such rows out, or take them for what they are: "
                "--set stages.STAGE.selectors='[{use: leak-check, action: drop}]' (or action: allow).",
            )
        ctx.log.warning(f"leak check: {told}; " + (f"{len(rows) - len(clean):,} rows dropped" if self.action == "drop" else "kept as told"))
        return rows.select(clean) if self.action == "drop" else rows


def leaks(text: str) -> list[str]:
    """The sorts of identifier in a text, one entry a find."""
    found = []
    for sort, pattern in PATTERNS.items():
        for match in pattern.finditer(text):
            if sort != "name" or not INVENTED.match(match[0]):
                found.append(sort)
    return found
