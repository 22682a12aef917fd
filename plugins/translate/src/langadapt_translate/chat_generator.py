"""Texts by a chat model behind an HTTP endpoint that speaks OpenAI's protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from langadapt.contracts import Context, Generator
from langadapt_translate.endpoint import ChatEndpoint


class ChatGenerator(ChatEndpoint, Generator):
    """Asks ``POST {url}/chat/completions`` once a prompt, several at a time, with retries and a rate limit.

    A key comes from the environment variable `key_variable`; it is never part of a plan or a release.
    """

    name: ClassVar[str] = "openai-compatible"

    def fingerprint(self) -> str:
        return f"{self.url} {self.model} {self.temperature}"

    def generate(self, prompts: list[str], ctx: Context) -> Iterator[tuple[int, str]]:
        with self.asking() as asker:
            yield from asker.in_turn(lambda prompt: asker.ask("", prompt), prompts)
