"""Normalisation of posts: what names a person or a page says nothing about the language."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, ClassVar

from langadapt.registry.component import Component

ENTITIES = (
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", '"'),
    ("&#39;", "'"),
    ("&nbsp;", " "),
    ("(?:&amp;)+(?!(?:lt|gt|quot|nbsp|amp);|#39;)", "&"),
)
"""HTML entities that exports leave in; an ampersand is unescaped only where that makes no other entity."""


class Twitter(Component):
    """NFC; users become ``@USER``, links ``HTTPURL``, a leading retweet mark goes, HTML entities are unescaped.

    The masks are those of BERTweet (Nguyen et al. 2020, arXiv:2005.10200) and IndoBERTweet (Koto et al. 2021, arXiv:2109.04607).
    Emoji, hashtags, spelling and code-mixing stay: they carry meaning.  White space becomes single spaces.
    """

    kind: ClassVar[str] = "normalizer"
    name: ClassVar[str] = "twitter"
    version: ClassVar[str] = "1"

    lowercase: bool = False
    """Lower-case everything, the masks too, as IndoBERTweet does."""
    user: str = "@USER"
    link: str = "HTTPURL"

    def normalize(self, text: str) -> str:
        """Pure and idempotent."""
        text = unicodedata.normalize("NFC", text)
        for pattern, replacement in self.rules():
            text = re.sub(pattern, replacement.replace("\\", "\\\\"), text)
        return text.lower() if self.lowercase else text

    def fast(self) -> Any:
        """The same rules for ``tokenizers``."""
        from tokenizers import Regex, normalizers

        steps = [normalizers.NFC(), *(normalizers.Replace(Regex(pattern), replacement) for pattern, replacement in self.rules())]
        return normalizers.Sequence([*steps, *([normalizers.Lowercase()] if self.lowercase else [])])

    def rules(self) -> list[tuple[str, str]]:
        """(regular expression, plain replacement) in order; only syntax that Python and Oniguruma read alike."""
        return [
            *ENTITIES,
            ("[ \t\r\n\u00a0\u2028\u2029]+", " "),
            ("(?:https?://|www\\.)[^ ]+", self.link),
            ("(?<![A-Za-z0-9_])@[A-Za-z0-9_]+", self.user),
            (f"\\A ?(?:RT {re.escape(self.user)}:? ?)+", ""),
            ("\\A ", ""),
        ]
