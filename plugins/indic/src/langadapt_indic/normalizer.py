"""Normalisation of text in Indic scripts: one spelling for what readers see as one text.

The rules are a table of plain replacements around Unicode normalisation, so the very same table drives the Python
function used on corpora and the ``tokenizers`` normalizer that is baked into a release.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

from langadapt.contracts import Normalizer

# Nukta letters: NFC keeps U+0958–U+095F decomposed (composition exclusions), but not U+0929, U+0931, U+0934.  One form for
# all of them is what matters; decomposed lets a tokenizer share the base letter.
DECOMPOSED = {"\u0929": "\u0928\u093c", "\u0931": "\u0930\u093c", "\u0934": "\u0933\u093c"}

EYELASH = ("\u0931\u094d", "\u0930\u094d\u200d")
"""Marathi's eyelash ra has two encodings: rra + virama, and ra + virama + zero-width joiner.  It is a letter of its own: both
become the first."""

DIGITS = {
    "Deva": "०१२३४५६७८९",
    "Beng": "০১২৩৪৫৬৭৮৯",
    "Guru": "੦੧੨੩੪੫੬੭੮੯",
    "Gujr": "૦૧૨૩૪૫૬૭૮૯",
    "Orya": "୦୧୨୩୪୫୬୭୮୯",
    "Taml": "௦௧௨௩௪௫௬௭௮௯",
    "Telu": "౦౧౨౩౪౫౬౭౮౯",
    "Knda": "೦೧೨೩೪೫೬೭೮೯",
    "Mlym": "൦൧൨൩൪൫൬൭൮൯",
}

INVISIBLE = "\ufeff\u200b\u2060\u00ad"
"""Byte-order mark, zero-width space, word joiner, soft hyphen: never part of a word."""

VIRAMAS = "\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d\u0dca"
NUKTAS = "\u093c\u09bc\u0a3c\u0abc\u0b3c\u0c3c\u0cbc"


def _ranges(characters: Iterable[str]) -> str:
    """Sorted characters as the inside of a character class."""
    found: list[list[str]] = []
    for c in characters:
        if found and ord(found[-1][1]) + 1 == ord(c):
            found[-1][1] = c
        else:
            found.append([c, c])
    return "".join(f"{first}-{last}" for first, last in found)


STEADY = _ranges(c for c in map(chr, range(0x900, 0xE00)) if unicodedata.category(c)[0] in "LM" and not unicodedata.combining(c))
"""Letters and vowel signs that canonical ordering never moves."""


class Indic(Normalizer):
    """NFC; stray joiners, nukta, danda and digit forms made uniform.  Vowel signs are never touched.

    - Joiners: ZWJ and ZWNJ stay only behind a virama, where they choose a conjunct's form; elsewhere they are invisible.
    - Nukta letters are decomposed; Marathi's eyelash ra has one encoding.
    - Danda: ``|`` between or behind Indic letters becomes ``।``, two dandas become ``॥``.
    - Digits: kept as they are, or all ``ascii``, or all ``native`` to `script`.
    """

    name: ClassVar[str] = "indic"
    version: ClassVar[str] = "1"

    digits: Literal["keep", "ascii", "native"] = "keep"
    script: Literal["Deva", "Beng", "Guru", "Gujr", "Orya", "Taml", "Telu", "Knda", "Mlym"] = "Deva"

    def normalize(self, text: str) -> str:
        """Pure and idempotent."""
        text = unicodedata.normalize("NFC", text)
        for pattern, replacement in self.invisible():
            text = re.sub(pattern, replacement, text)
        text = unicodedata.normalize("NFC", text)  # what stood apart may compose now
        for pattern, replacement in self.rules():
            text = re.sub(pattern, replacement, text)
        return text

    def fast(self) -> Any:
        """The same rules for ``tokenizers``."""
        from tokenizers import Regex, normalizers

        first, then = ([normalizers.Replace(Regex(p), r) for p, r in rules] for rules in (self.invisible(), self.rules()))
        return normalizers.Sequence([normalizers.NFC(), *first, normalizers.NFC(), *then])

    def invisible(self) -> list[tuple[str, str]]:
        """Rules that take invisible characters out, as in :meth:`rules`.

        A joiner stays right behind a virama that no canonical ordering can move away from it.
        """
        behind = f"(?<![{STEADY}][{VIRAMAS}])(?<![{STEADY}][{NUKTAS}][{VIRAMAS}])"
        return [(f"[{INVISIBLE}]", ""), (f"{behind}[\u200c\u200d]", "")]

    def rules(self) -> list[tuple[str, str]]:
        """(regular expression, plain replacement) in order; only syntax that Python and Oniguruma read alike."""
        letters = "\u0900-\u0963\u0966-\u0dff"
        found = self._digits() if self.digits == "native" else []
        found.append((EYELASH[1] + "(?=[यह])", EYELASH[0]))
        # The eyelash form keeps its composed rra; all other nukta letters are decomposed.
        found += [(f"{letter}(?!\u094d[यह])", pair) for letter, pair in DECOMPOSED.items()]
        found.append((f"(?<=[{letters}] )\\|(?![^ \n])|(?<=[{letters}])\\|(?!\\|)", "।"))
        found.append(("।।", "॥"))
        return found + (self._digits() if self.digits == "ascii" else [])

    def _digits(self) -> list[tuple[str, str]]:
        found = []
        for i in range(10):
            everywhere = "".join(row[i] for row in DIGITS.values())
            if self.digits == "ascii":
                found.append((f"[{everywhere}]", str(i)))
            else:
                found.append((f"[{i}{everywhere}]", DIGITS[self.script][i]))
        return found
