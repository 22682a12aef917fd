"""Scripts by their ISO 15924 codes, as patterns over Unicode's letters."""

from __future__ import annotations

from collections.abc import Iterable

import regex

from langadapt.errors import RegistryError

TOGETHER = {
    "Kore": ("Hang", "Hani"),
    "Jpan": ("Hani", "Hira", "Kana"),
    "Hrkt": ("Hira", "Kana"),
    "Hans": ("Hani",),
    "Hant": ("Hani",),
    "Hanb": ("Hani", "Bopo"),
}
"""Codes for what a language writes with, which Unicode knows by their parts."""


def script_class(codes: Iterable[str]) -> str:
    """The inside of a character class of the package `regex` for every letter and mark of the scripts.

    Raises:
        RegistryError: a code that Unicode does not know.
    """
    found = []
    for code in codes:
        for part in TOGETHER.get(code, (code,)):
            one = rf"\p{{Script={part}}}"
            try:
                regex.compile(one)
            except regex.error as error:
                raise RegistryError(f"unknown script '{code}'", hint="Use ISO 15924 codes such as Deva, Latn.") from error
            found.append(one)
    return "".join(found)


def share_in_scripts(text: str, codes: Iterable[str]) -> float | None:
    """Share of a text's letters that belong to the scripts; None where it has fewer than 50 letters."""
    letters = regex.findall(r"\p{L}", text)
    if len(letters) < 50:
        return None
    own = regex.compile(f"[{script_class(codes)}]")
    return sum(1 for letter in letters if own.match(letter)) / len(letters)
