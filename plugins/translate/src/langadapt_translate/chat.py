"""Translation by a chat model behind an HTTP endpoint that speaks OpenAI's protocol (vLLM, llama.cpp, Ollama, hosted ones)."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import langcodes
from pydantic import Field

from langadapt.contracts import Context, Offer, Translation, Translator, Unkeyed
from langadapt.errors import DataError

if TYPE_CHECKING:
    import httpx

RETRIED = (408, 409, 425, 429, 500, 502, 503, 504)

PROMPT = (
    "Translate each string of the JSON array from {source} to {target}. Keep meaning, register, names and numbers. "
    "Answer with a JSON array of as many strings in the same order, and nothing else."
)


class Chat(Translator):
    """Asks ``POST {url}/chat/completions`` for some sentences at a time, with retries, a rate limit and answers checked for count.

    A key comes from the environment variable `key_variable`; it is never part of a plan or a release.
    """

    name: ClassVar[str] = "openai-compatible"
    version: ClassVar[str] = "1"

    url: str
    """Up to and without ``/chat/completions``."""
    model: str
    licence: str = "not stated"
    """What the provider's terms say of the outputs."""
    key_variable: str = "OPENAI_API_KEY"
    sentences: Annotated[int, Field(ge=1, le=200)] = 20
    """In one request."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    requests_per_minute: Annotated[float, Field(gt=0), Unkeyed] = 600
    parallel: Annotated[int, Field(ge=1, le=64), Unkeyed] = 4
    retries: Annotated[int, Field(ge=0, le=20), Unkeyed] = 6
    """Of a request that the server refuses for now or that times out; the wait doubles, or is what ``Retry-After`` says."""
    patience: Annotated[float, Field(gt=0), Unkeyed] = 120.0
    """Seconds for one answer."""
    first_wait: Annotated[float, Field(gt=0), Unkeyed] = 1.0
    """Seconds before the first retry."""

    def offer(self, source: str, target: str) -> Offer:
        return Offer(f"{self.model} at {self.url}", True, "", self.licence, True, f"{self.url} {self.model}")

    def translate(self, texts: list[str], source: str, target: str, ctx: Context) -> Iterator[tuple[int, Translation]]:
        import httpx

        key = os.environ.get(self.key_variable)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        pace = _Pace(60 / self.requests_per_minute)
        blocks = [list(range(start, min(start + self.sentences, len(texts)))) for start in range(0, len(texts), self.sentences)]
        prompt = PROMPT.format(source=_named(source), target=_named(target))
        with httpx.Client(headers=headers, timeout=self.patience) as client, ThreadPoolExecutor(self.parallel) as pool:
            jobs = {pool.submit(self._block, client, pace, prompt, [texts[i] for i in block]): block for block in blocks}
            try:
                for job in as_completed(jobs):
                    yield from zip(jobs.pop(job), (Translation(text) for text in job.result()), strict=True)
            finally:
                for job in jobs:
                    job.cancel()

    def _block(self, client: httpx.Client, pace: _Pace, prompt: str, texts: list[str]) -> list[str]:
        """Answers for a block; one that does not count right is asked for in halves.

        Raises:
            DataError: not even one sentence gets an answer that can be read.
        """
        said = _array(self._ask(client, pace, prompt, json.dumps(texts, ensure_ascii=False)))
        if said is not None and len(said) == len(texts):
            return said
        if len(texts) == 1:
            raise DataError(
                f"{self.model} does not answer with a JSON array of one string",
                where=repr(texts[0][:80]),
                hint="Try a model that follows instructions better.",
            )
        middle = len(texts) // 2
        return self._block(client, pace, prompt, texts[:middle]) + self._block(client, pace, prompt, texts[middle:])

    def _ask(self, client: httpx.Client, pace: _Pace, prompt: str, content: str) -> str:
        import httpx

        messages = [{"role": "system", "content": prompt}, {"role": "user", "content": content}]
        body = {"model": self.model, "temperature": self.temperature, "messages": messages}
        wait, problem = self.first_wait, ""
        for attempt in range(self.retries + 1):
            pace.wait()
            try:
                answer = client.post(f"{self.url.rstrip('/')}/chat/completions", json=body)
            except httpx.HTTPError as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                if answer.status_code == 200:
                    return _content(answer, self.url)
                problem = f"HTTP {answer.status_code}: {answer.text[:200]}"
                if answer.status_code not in RETRIED:
                    break
                wait = max(wait, _seconds(answer.headers.get("Retry-After")))
            if attempt < self.retries:
                time.sleep(wait)
                wait *= 2
        raise DataError(
            f"the endpoint did not answer: {problem}",
            where=self.url,
            hint=f"Check url, model and ${self.key_variable}. Run the build again: finished sentences are kept.",
        )


class _Pace:
    """Lets callers pass one by one, at least `gap` seconds apart."""

    def __init__(self, gap: float) -> None:
        self.gap, self.next, self.lock = gap, 0.0, threading.Lock()

    def wait(self) -> None:
        with self.lock:
            now = time.monotonic()
            turn = max(now, self.next)
            self.next = turn + self.gap
        time.sleep(turn - now)


def _content(answer: httpx.Response, url: str) -> str:
    try:
        return str(answer.json()["choices"][0]["message"]["content"])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise DataError("the endpoint's answer is not in OpenAI's form", where=url, hint=f"It began: {answer.text[:120]!r}.") from error


def _array(text: str) -> list[str] | None:
    """The JSON array of strings in an answer, a code fence around it taken off; None where there is none."""
    start, end = text.find("["), text.rfind("]")
    try:
        found = json.loads(text[start : end + 1])
    except ValueError:
        return None
    return [str(item).strip() for item in found] if isinstance(found, list) and all(isinstance(item, str) for item in found) else None


def _seconds(stated: Any) -> float:
    try:
        return float(stated)
    except (TypeError, ValueError):
        return 0.0  # none, or a date: the doubling wait serves


def _named(code: str) -> str:
    """``gl`` → ``Galician (gl)`` where the names of languages are installed, else the code."""
    try:
        return f"{langcodes.Language.get(code).display_name()} ({code})"
    except ImportError:
        return f"the language with the BCP 47 code {code}"
