"""An engine that translates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from langadapt.contracts import Context, Offer, Translation, Translator


class Example(Translator):
    """Word by word, with a glossary that its options give; words that are not in it stay, and are counted as unknown."""

    name: ClassVar[str] = "example"

    words: Mapping[str, str] = {}
    """Word of the source → word of the target."""

    def offer(self, source: str, target: str) -> Offer:
        return Offer(f"{self.name} {source}-{target}", ready=bool(self.words), needs="" if self.words else "a glossary: words: {…}")

    def translate(self, texts: list[str], source: str, target: str, ctx: Context) -> Iterator[tuple[int, Translation]]:
        for place, text in enumerate(texts):
            words = text.split()
            unknown = sum(word not in self.words for word in words)
            yield place, Translation(" ".join(self.words.get(word, word) for word in words), unknown=unknown)
