"""What answers prompts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from langadapt.contracts import Context, Generator


class Example(Generator):
    """Answers a prompt with its own last line; put a language model in its place."""

    name: ClassVar[str] = "example"

    def fingerprint(self) -> str:
        """What answers: the same text is not asked the same twice.  Name the model and its revision here."""
        return f"{self.name}, version {self.version}"

    def generate(self, prompts: list[str], ctx: Context) -> Iterator[tuple[int, str]]:
        for place, prompt in enumerate(prompts):
            yield place, prompt.strip().rpartition("\n")[2]
