"""Posts from the platform's own export formats, or one a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from langadapt.contracts import Context, CorpusReader, Document, Resource
from langadapt.contracts.reading import fetch, tables
from langadapt.errors import DataError

FIELDS = ("full_text", "text", "rawContent", "content")


class Posts(CorpusReader):
    """Posts from JSON Lines of the platform's interfaces (v1.1 and v2, pages too), an account's archive (``tweets.js``), tables, or lines.

    A post's whole text is taken where the format hides it (``extended_tweet``, ``note_tweet``); of a repost the original is read once, or
    it is left out.  Texts longer than `longest` are no posts: they are left out and counted, and so are posts of other languages where
    `language` is given and the format states one.
    """

    name: ClassVar[str] = "posts"
    version: ClassVar[str] = "1"

    data: Resource
    language: str = ""
    """Keep posts that the platform marks as this language, and those it marks with none."""
    reposts: Literal["drop", "keep"] = "drop"
    longest: Annotated[int, Field(ge=280)] = 4000
    """Characters; the platform's own limit for long posts is higher, text that is no post higher still."""

    def documents(self, ctx: Context) -> Iterator[Document]:
        counts = {"long": 0, "other": 0, "reposts": 0}
        for path in fetch(self.data, ctx):
            for origin, post in self._posts(path):
                text = post if isinstance(post, str) else self._text(post, counts)
                if text is None:
                    continue
                if len(text) > self.longest:
                    counts["long"] += 1
                    continue
                yield Document(text, origin)
        if counts["long"]:
            ctx.log.warning(f"{counts['long']:,} texts are longer than {self.longest:,} characters, which no post is: left out")
        ctx.log.info(f"{counts['reposts']:,} reposts and {counts['other']:,} posts of other languages left out")

    def _posts(self, path: Path) -> Iterator[tuple[str, Any]]:
        kind = tables.suffix(path)
        if kind == ".js":
            yield from _archive(path)
        elif kind in (".jsonl", ".json"):
            for where, row in tables.rows(path):
                inner = row.get("data", row)
                for item in inner if isinstance(inner, list) else [inner]:
                    yield f"{path.name}:{where.rsplit(':', 1)[-1]}", item
        elif kind in (".txt", ""):
            for number, line in tables.lines(path):
                yield f"{path.name}:{number}", line
        else:
            for where, row in tables.rows(path):
                yield f"{path.name}:{where.rsplit(':', 1)[-1]}", row

    def _text(self, post: dict[str, Any], counts: dict[str, int]) -> str | None:
        post = post.get("tweet", post)
        repost = post.get("retweeted_status") or any(ref.get("type") == "retweeted" for ref in post.get("referenced_tweets") or [])
        if self.reposts == "drop" and (repost or str(post.get("full_text", post.get("text", ""))).startswith("RT @")):
            counts["reposts"] += 1
            return None
        language = post.get("lang")
        if self.language and language not in (None, "", "und", self.language):
            counts["other"] += 1
            return None
        long = post.get("extended_tweet", {}).get("full_text") or post.get("note_tweet", {}).get("text")
        return long or next((str(post[name]) for name in FIELDS if post.get(name)), None)


def _archive(path: Path) -> Iterator[tuple[str, Any]]:
    """``window.YTD.tweets.part0 = [ … ]`` of an account's archive."""
    text = "\n".join(line for _, line in tables.lines(path))
    start = text.find("[")
    try:
        posts = json.loads(text[start:])
    except ValueError as error:
        raise DataError(f"not an archive of posts: {error}", where=str(path), hint="Give tweets.js as the platform exports it.") from error
    for i, post in enumerate(posts):
        yield f"{path.name}:post {i + 1}", post
