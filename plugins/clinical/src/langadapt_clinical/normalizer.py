"""Normalisation of clinical text: placeholders of de-identification and units; abbreviations stay."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any, ClassVar

from langadapt.contracts import Normalizer

UNITS = (
    *("mg", "mcg", "g", "kg", "ml", "mL", "dl", "dL", "cc", "cm", "mm", "mmHg", "mmol", "mEq"),
    *("IU", "units", "hours", "hrs", "days", "bpm"),
)
NAMES = "NAME|DATE|PATIENT|DOCTOR|HOSPITAL|LOCATION|PHONE|ID|AGE|MRN|PROVIDER|CITY|STATE|ZIP|EMAIL|ADDRESS"


class Clinical(Normalizer):
    """NFC; every placeholder of de-identification becomes one word, figures stand apart from their units, spellings of µg are one.

    Placeholders: ``[** … **]`` (MIMIC-III), runs of three or more underscores (MIMIC-IV), ``<NAME>`` and ``[NAME]`` of common tools.
    Alsentzer et al. 2019 (arXiv:1904.03323; EmilyAlsentzer/clinicalBERT, commit a9d9169) leave them in the text and only keep sentences
    from ending inside them: ``placeholder: null`` does so.  Case and abbreviations carry meaning and stay.
    """

    name: ClassVar[str] = "clinical"
    version: ClassVar[str] = "2"

    placeholder: str | None = "DEID"
    """What stands for every placeholder; null leaves them."""

    def normalize(self, text: str) -> str:
        """Pure and idempotent."""
        if not unicodedata.is_normalized("NFC", text):
            text = unicodedata.normalize("NFC", text)
        for pattern, replacement in _compiled(tuple(self.rules())):
            text = pattern.sub(replacement, text)
        return text

    def fast(self) -> Any:
        """The same rules for ``tokenizers``."""
        from tokenizers import Regex, normalizers

        return normalizers.Sequence(
            [normalizers.NFC(), *(normalizers.Replace(Regex(pattern), replacement) for pattern, replacement in self.rules())]
        )

    def rules(self) -> list[tuple[str, str]]:
        """(regular expression, plain replacement) in order; only syntax that Python and Oniguruma read alike."""
        found = [("[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\ufeff]", "")]
        if self.placeholder is not None:
            places = ("\\[\\*\\*[^\\]]*\\*\\*\\]", "_{3,}", f"<(?:{NAMES})[A-Z0-9_ -]*>|\\[(?:{NAMES})[A-Z0-9_ -]*\\]")
            found += [(place, self.placeholder) for place in places]
        found += [
            ("[\u00b5\u03bc]g(?![A-Za-z])", "mcg"),
            ("[\u00ba\u02da] ?(?=[CF](?![A-Za-z]))", "\u00b0"),
        ]
        found.append((f"(?<=[0-9])(?=(?:{'|'.join(UNITS)})(?![A-Za-z]))", " "))
        return [*found, ("[ \t\r\n\u00a0]+", " "), ("\\A ", "")]


@lru_cache(maxsize=8)
def _compiled(rules: tuple[tuple[str, str], ...]) -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(pattern), replacement.replace("\\", "\\\\")) for pattern, replacement in rules]
