"""One spelling for one text."""

from __future__ import annotations

import unicodedata
from typing import Any, ClassVar

from langadapt.contracts import Normalizer


class Example(Normalizer):
    """Composed characters (Unicode's NFC); pure, and twice is once."""

    name: ClassVar[str] = "example"

    def normalize(self, text: str) -> str:
        return unicodedata.normalize("NFC", text)

    def fast(self) -> Any:
        """The same rule, baked into the tokenizer of a release; return None where tokenizers cannot express yours."""
        from tokenizers.normalizers import NFC

        return NFC()
