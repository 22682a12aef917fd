"""How text is spelt before it is cut: letter case and accents, each only in the scripts where dropping it destroys no word."""

from __future__ import annotations

import unicodedata
from collections import Counter
from typing import Literal

import regex
from tokenizers import Regex, normalizers

from langadapt.contracts import Context
from langadapt.errors import ModelError

ACCENTS = "\u0300-\u036f\u0483-\u0487"
"""Accents of Latin, Greek and Cyrillic letters once they are taken apart.  Signs of other scripts (vowels, viramas, nuktas, voicing
marks) are in blocks of their own, and are never dropped."""

Form = Literal["NFC", "NFKC"]


def rules(form: Form, lowercase: bool, strip_accents: bool) -> list[normalizers.Normalizer]:
    """Steps of a normalizer: composed, and on request in lower case and without accents."""
    compose = {"NFC": normalizers.NFC, "NFKC": normalizers.NFKC}[form]
    steps = [compose()]
    if lowercase:  # Unicode's lower case of İ is an i under a second dot
        steps += [normalizers.Replace("İ", "i"), normalizers.Lowercase()]
    if strip_accents:
        steps += [normalizers.NFD(), normalizers.Replace(Regex(f"[{ACCENTS}]"), ""), compose()]
    return steps


def spelt(text: str, form: Form, lowercase: bool, strip_accents: bool) -> str:
    """The same rules in Python."""
    text = unicodedata.normalize(form, text)
    if lowercase:  # letter by letter, as the Rust rule goes: no final sigma
        text = "".join(letter.lower() for letter in text.replace("İ", "i"))
    if strip_accents:
        text = unicodedata.normalize(form, _ACCENT.sub("", unicodedata.normalize("NFD", text)))
    return text


_ACCENT = regex.compile(f"[{ACCENTS}]")

OPTIONAL = ("Inherited", "Common", "Latin", "Greek", "Cyrillic", "Arabic", "Hebrew", "Syriac")

SIGNS = regex.compile(r"[[\p{M}--[" + "".join(rf"\p{{Script={name}}}" for name in OPTIONAL) + "]]\u3099\u309a]", regex.V1)
"""Marks without which a word is another or none, the voicing marks of kana among them (Unicode calls their script "inherited").  Points of
the consonant scripts of the Near East are not: most text does without."""

SHARE = 0.05
"""Texts that may lose vowel signs before a tokenizer is refused: a few foreign words are in every corpus."""


class Signs:
    """Watches what a base's normalizer does to vowel signs."""

    def __init__(self) -> None:
        self.texts = self.hurt = 0
        self.example: tuple[str, str] | None = None

    def compare(self, text: str, normal: str) -> None:
        """Count a text before and after; whether letters and signs are composed does not matter."""
        self.texts += 1
        before, after = (Counter(SIGNS.findall(unicodedata.normalize("NFKD", one))) for one in (text, normal))
        if sum((before - after).values()):
            self.hurt += 1
            self.example = self.example or _first_hurt(text, normal)

    def say(self, ctx: Context) -> None:
        """Warn once of hurt texts."""
        if self.example is not None:
            ctx.log.warning(self._told(self.example))

    def check(self, ctx: Context) -> None:
        """Warn once of hurt texts.

        Raises:
            ModelError: more than a few texts lose signs.
        """
        if self.example is not None and self.hurt > SHARE * self.texts:
            raise ModelError(self._told(self.example), hint="Choose a cased base, or train a vocabulary of its own.")
        self.say(ctx)

    def _told(self, example: tuple[str, str]) -> str:
        was, now = example
        return f"the base's normalizer drops vowel signs: '{was}' becomes '{now}' ({self.hurt:,} of {self.texts:,} texts)"


def _first_hurt(text: str, normal: str) -> tuple[str, str]:
    """The first word that lost a sign, and what is left of it."""
    for was, now in zip(text.split(), normal.split(), strict=False):
        if len(SIGNS.findall(unicodedata.normalize("NFKD", was))) > len(SIGNS.findall(unicodedata.normalize("NFKD", now))):
            return was, now.strip("▁")
    return text[:40], normal[:40]
