"""Normalisation of posts: what names a person or a page says nothing about the language."""

from __future__ import annotations

import re
import unicodedata
from functools import cached_property, lru_cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from langadapt.contracts import Normalizer

ENTITIES = (
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", '"'),
    ("&#39;", "'"),
    ("&nbsp;", " "),
    ("(?:&amp;)+(?!(?:lt|gt|quot|nbsp|amp);|#39;)", "&"),
)
"""HTML entities that exports leave in; an ampersand is unescaped only where that makes no other entity."""

CONTROL = "[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\ufeff]"
LINKS = "(?:https?://|www\\.)[^ ]+"
USERS = "(?<![A-Za-z0-9_])@[A-Za-z0-9_][A-Za-z0-9_\u0300-\u036f]*"
PICTURES = re.compile(
    "(?:[\u00a9\u00ae\u203c-\u3299\ufe0e\ufe0f\U0001f000-\U0001faff]|[0-9#*]\ufe0f?\u20e3)[\u00a9\u00ae\u200d\u203c-\u3299\ufe0e\ufe0f\U0001f000-\U0001faff\U000e0020-\U000e007f]*"
)
"""A run of what may be emoji, joined or marked: the library emoji reads character by character, and need not see the rest."""
HASHTAG = re.compile(r"(?:https?://|www\.)\S+|(?<![\w@&\u0300-\u036f])#+(?!\d+;)(_*[^\W_]\w*)")
"""A hashtag; links are matched too, so that what stands behind a # in them is none, and an entity's number (&#39;) is none either."""
HUMPS = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])|_+")
DOTTED = ("tr", "az")
"""Languages whose capital I is a small ı."""


class Twitter(Normalizer):
    """NFC; users become ``@USER``, links ``HTTPURL``, a leading retweet mark and control characters go, HTML entities are unescaped.

    The masks are those of BERTweet (Nguyen et al. 2020, arXiv:2005.10200).  What IndoBERTweet does is the normalizer ``indobertweet``.
    Spelling, romanised and code-mixed words stay as they are: they carry meaning.  White space becomes single spaces.  Splitting
    hashtags and naming emoji cannot be written as a tokenizer's rules: the release then names this normalizer, and langadapt applies it.
    """

    name: ClassVar[str] = "twitter"
    version: ClassVar[str] = "4"

    lowercase: bool = False
    """Lower-case everything, the masks too; before the rules, so that they see one case."""
    language: str = ""
    """BCP 47 code: the language of emoji's names, and Turkish and Azerbaijani casing of i."""
    users: Literal["mask", "keep", "drop"] = "mask"
    user: str = "@USER"
    links: Literal["mask", "keep", "drop"] = "mask"
    link: str = "HTTPURL"
    emoji: Literal["keep", "names", "drop"] = "keep"
    """``names`` writes 😂 as ``:face_with_tears_of_joy:``, in `language` where the library emoji has it."""
    hashtags: Literal["keep", "split", "bare"] = "keep"
    """``split`` takes #JakartaMacet2024 apart into its words, ``bare`` drops the mark alone."""
    repeats: Annotated[int, Field(ge=2, le=9)] | None = None
    """Times that a letter or mark may stand in a row: 2 makes "baguuuus" "baguus"; None keeps all."""

    def normalize(self, text: str) -> str:
        """Pure and idempotent."""
        if not unicodedata.is_normalized("NFC", text):
            text = unicodedata.normalize("NFC", text)
        if self.emoji != "keep" and not text.isascii():
            text = PICTURES.sub(lambda found: _named(found[0], self.language, self.emoji == "names"), text)
        if self.hashtags == "split" and "#" in text:  # before lower case, which hides where words begin
            text = HASHTAG.sub(lambda found: found[0] if found[1] is None else _words(found[1]), text)
        if self.lowercase:
            text = self._lower(text)
        for pattern, replacement, sign in self._compiled:
            if sign in text:
                text = pattern.sub(replacement, text)
        return text

    def fast(self) -> Any | None:
        """The same rules for ``tokenizers``; None where an option cannot be written so."""
        if self.hashtags == "split" or self.emoji != "keep" or (self.lowercase and self.language in DOTTED):
            return None
        from tokenizers import Regex, normalizers

        lower = [normalizers.Lowercase()] if self.lowercase else []
        rules = [normalizers.Replace(Regex(pattern), replacement) for pattern, replacement in self.rules()]
        return normalizers.Sequence([normalizers.NFC(), *lower, *rules])

    def rules(self) -> list[tuple[str, str]]:
        """(regular expression, plain replacement) in order; only syntax that Python and Oniguruma read alike."""
        user, link, mark = (name.lower() if self.lowercase else name for name in (self.user, self.link, "RT"))
        found = [*ENTITIES, (CONTROL, ""), ("[ \t\r\n\u00a0\u2028\u2029]+", " ")]
        if self.links != "keep":
            found.append((LINKS, link if self.links == "mask" else ""))
        if self.users != "keep":
            found.append((USERS, user if self.users == "mask" else ""))
        who = re.escape(user) if self.users == "mask" else ("" if self.users == "drop" else "@[A-Za-z0-9_]+")
        found.append((f"\\A ?(?:{mark} {who}:? ?)+", ""))
        if self.hashtags == "bare":
            found.append(("(?<![A-Za-z0-9_@])#+(?=[^ #])", ""))
        if self.repeats:
            found.append((f"([^\\W\\d_]|[!?.])(?=\\1{{{self.repeats}}})", ""))
        return [*found, ("  +", " "), ("\\A ", "")]

    @cached_property
    def _compiled(self) -> list[tuple[re.Pattern[str], str, str]]:
        """(expression, replacement, sign) of each rule."""
        found = []
        for pattern, replacement in self.rules():
            sign = next((sign for start, sign in SIGNS.items() if pattern.startswith(start)), "")
            found.append((re.compile(pattern), replacement.replace("\\", "\\\\"), sign))
        return found

    def _lower(self, text: str) -> str:
        if self.language in DOTTED:
            text = text.replace("I", "ı").replace("İ", "i")
        return text.lower()


SIGNS = {
    "&": "&",
    "(?:&": "&",
    "(?<![A-Za-z0-9_])@": "@",
    "(?<![A-Za-z0-9_@])#": "#",
    "\\A ?(?:RT": "RT ",
    "\\A ?(?:rt": "rt ",
    "  +": "  ",
}
"""Beginning of a pattern → what a text must hold for it to match: most posts hold few of them, and looking is cheap."""


@lru_cache(maxsize=4096)
def _named(run: str, language: str, names: bool) -> str:
    """A run's emoji by name, or without them."""
    import emoji

    if not names:
        return emoji.replace_emoji(run, "")
    return emoji.demojize(run, language=language if language in emoji.LANGUAGES else "en")


@lru_cache(maxsize=4096)  # tags come back
def _words(tag: str) -> str:
    """``JakartaMacet2024`` → ``Jakarta Macet 2024``; a tag of one case stays one word."""
    return " ".join(part for piece in HUMPS.sub(" ", tag).split() for part in _humps(piece))


def _humps(piece: str) -> list[str]:
    """A word begins at a capital behind a small letter, or before one where capitals end."""
    starts = [0]
    for i in range(1, len(piece)):
        before, here, after = piece[i - 1], piece[i], piece[i + 1 : i + 2]
        if here.isupper() and (before.islower() or (before.isupper() and after.islower())):
            starts.append(i)
    return [piece[a:b] for a, b in zip(starts, [*starts[1:], len(piece)], strict=True)]
