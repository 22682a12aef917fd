"""Translation by a chat model behind an HTTP endpoint that speaks OpenAI's protocol (vLLM, llama.cpp, Ollama, hosted ones)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, ClassVar

import langcodes
from pydantic import Field

from langadapt.contracts import Context, Offer, Translation, Translator
from langadapt.errors import DataError
from langadapt_translate.endpoint import Asker, ChatEndpoint

PROMPT = (
    "Translate each string of the JSON array from {source} to {target}. Keep meaning, register, names and numbers. "
    "Answer with a JSON array of as many strings in the same order, and nothing else."
)


class Chat(ChatEndpoint, Translator):
    """Asks ``POST {url}/chat/completions`` for some sentences at a time, with retries, a rate limit and answers checked for count.

    A key comes from the environment variable `key_variable`; it is never part of a plan or a release.
    """

    name: ClassVar[str] = "openai-compatible"
    version: ClassVar[str] = "1"

    sentences: Annotated[int, Field(ge=1, le=200)] = 20
    """In one request."""

    def offer(self, source: str, target: str) -> Offer:
        return Offer(f"{self.model} at {self.url}", True, "", self.licence, True, f"{self.url} {self.model}")

    def translate(self, texts: list[str], source: str, target: str, ctx: Context) -> Iterator[tuple[int, Translation]]:
        blocks = [list(range(start, min(start + self.sentences, len(texts)))) for start in range(0, len(texts), self.sentences)]
        prompt = PROMPT.format(source=_named(source), target=_named(target))
        with self.asking() as asker:
            for place, said in asker.in_turn(lambda block: self._block(asker, prompt, [texts[i] for i in block]), blocks):
                yield from zip(blocks[place], (Translation(text) for text in said), strict=True)

    def _block(self, asker: Asker, prompt: str, texts: list[str]) -> list[str]:
        """Answers for a block; one that does not count right is asked for in halves.

        Raises:
            DataError: not even one sentence gets an answer that can be read.
        """
        said = _array(asker.ask(prompt, json.dumps(texts, ensure_ascii=False)))
        if said is not None and len(said) == len(texts):
            return said
        if len(texts) == 1:
            raise DataError(
                f"{self.model} does not answer with a JSON array of one string",
                where=repr(texts[0][:80]),
                hint="Try a model that follows instructions better.",
            )
        middle = len(texts) // 2
        return self._block(asker, prompt, texts[:middle]) + self._block(asker, prompt, texts[middle:])


def _array(text: str) -> list[str] | None:
    """The JSON array of strings in an answer, a code fence around it taken off; None where there is none."""
    start, end = text.find("["), text.rfind("]")
    try:
        found = json.loads(text[start : end + 1])
    except ValueError:
        return None
    return [str(item).strip() for item in found] if isinstance(found, list) and all(isinstance(item, str) for item in found) else None


def _named(code: str) -> str:
    """``gl`` → ``Galician (gl)`` where the names of languages are installed, else the code."""
    try:
        return f"{langcodes.Language.get(code).display_name()} ({code})"
    except ImportError:
        return f"the language with the BCP 47 code {code}"
