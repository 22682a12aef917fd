"""Posts as IndoBERTweet reads them."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from langadapt.contracts import Normalizer

INSIDE = r"\((?:[^\s()<>]|\([^\s()<>]+\))*\)"
URL = re.compile(
    r"(?i)\b(?:https?://|www\d{0,3}[.]|[a-z0-9.\-]+[.][a-z]{2,4}/)(?:[^\s()<>]|"
    + INSIDE
    + r")+(?:"
    + INSIDE
    + r"|[^\s`!()\[\]{};:'\".,<>?«»“”‘’])"
)
"""Gruber's pattern, which the authors use, without a repetition inside a repetition: theirs takes twice as long for each further letter of
``www.!!!…``, and finds a link in the same words."""


class IndoBertweet(Normalizer):
    """Emoji by their English names, everything in lower case, users ``@USER`` and links ``HTTPURL``, each a whole word.

    Koto, Lau & Baldwin 2021 (IndoBERTweet, arXiv:2109.04607); what ``preprocess_tweet`` does in the authors' code (indolem/IndoBERTweet,
    commit 371dde2): a word that begins with @ is a user whatever stands behind, a word with a link in it is a link.  Retweet marks,
    HTML entities and hashtags stay.  The names are those of the installed library ``emoji``.

    For uncased bases: an uncased tokenizer writes the masks small, as it did for the authors.  A release names this normalizer, and
    langadapt applies it: naming emoji cannot be written as a tokenizer's rules.  ``twitter`` has options for other bases.
    """

    name: ClassVar[str] = "indobertweet"
    version: ClassVar[str] = "1"

    def normalize(self, text: str) -> str:
        """Pure and idempotent."""
        import emoji

        named = text if text.isascii() else emoji.demojize(text)
        return " ".join(_masked(word) for word in named.lower().split())

    def fast(self) -> Any | None:
        return None


def _masked(word: str) -> str:
    if word[0] == "@" or word == "[username]":
        return "@USER"
    if word in ("httpurl", "[url]") or (("." in word or "/" in word) and URL.search(word)):
        return "HTTPURL"
    return word
