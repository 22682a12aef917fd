"""Asking a chat model behind an HTTP endpoint that speaks OpenAI's protocol: retries, a rate limit, several requests at a time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field

from langadapt.contracts import Unkeyed
from langadapt.errors import DataError, SourceError

if TYPE_CHECKING:
    import httpx

RETRIED = (408, 409, 425, 429, 500, 502, 503, 504)


class ChatEndpoint(BaseModel):
    """Options of what asks ``POST {url}/chat/completions``.

    A key comes from the environment variable `key_variable`; it is never part of a plan or a release.
    """

    url: str
    """Up to and without ``/chat/completions``."""
    model: str
    licence: str = "not stated"
    """What the provider's terms say of the outputs."""
    key_variable: str = "OPENAI_API_KEY"
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    requests_per_minute: Annotated[float, Field(gt=0), Unkeyed] = 600
    parallel: Annotated[int, Field(ge=1, le=64), Unkeyed] = 4
    retries: Annotated[int, Field(ge=0, le=20), Unkeyed] = 6
    """Of a request that the server refuses for now or that times out; the wait doubles, or is what ``Retry-After`` says."""
    patience: Annotated[float, Field(gt=0), Unkeyed] = 120.0
    """Seconds for one answer."""
    first_wait: Annotated[float, Field(gt=0), Unkeyed] = 1.0
    """Seconds before the first retry."""

    @contextmanager
    def asking(self) -> Iterator[Asker]:
        """What asks the endpoint, while it is open."""
        import httpx

        key = os.environ.get(self.key_variable)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with httpx.Client(headers=headers, timeout=self.patience) as client:
            yield Asker(self, client)


class Asker:
    """An open connection to an endpoint; threads may share it."""

    def __init__(self, endpoint: ChatEndpoint, client: httpx.Client) -> None:
        self.endpoint, self.client = endpoint, client
        self.pace = _Pace(60 / endpoint.requests_per_minute)

    def in_turn(self, answer: Any, jobs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """(place, ``answer(job)``) of each job, as soon as it is known, several at a time."""
        with ThreadPoolExecutor(self.endpoint.parallel) as pool:
            running = {pool.submit(answer, job): place for place, job in enumerate(jobs)}
            try:
                for done in as_completed(running):
                    yield running.pop(done), done.result()
            finally:
                for left in running:
                    left.cancel()

    def ask(self, prompt: str, content: str) -> str:
        """The model's answer to a text under a system prompt.

        Raises:
            DataError: the endpoint cannot be reached, refuses, or answers in another form.
        """
        import httpx

        endpoint = self.endpoint
        messages = [*([{"role": "system", "content": prompt}] if prompt else []), {"role": "user", "content": content}]
        body = {"model": endpoint.model, "temperature": endpoint.temperature, "messages": messages}
        wait, problem = endpoint.first_wait, ""
        for attempt in range(endpoint.retries + 1):
            self.pace.wait()
            try:
                answer = self.client.post(f"{endpoint.url.rstrip('/')}/chat/completions", json=body)
            except httpx.HTTPError as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                if answer.status_code == 200:
                    return _content(answer, endpoint.url)
                problem = f"HTTP {answer.status_code}: {answer.text[:200]}"
                if answer.status_code not in RETRIED:
                    break
                wait = max(wait, _seconds(answer.headers.get("Retry-After")))
            if attempt < endpoint.retries:
                time.sleep(wait)
                wait *= 2
        raise SourceError(
            f"the endpoint did not answer: {problem}",
            where=endpoint.url,
            hint=f"Check url, model and ${endpoint.key_variable}. Run the build again: finished sentences are kept.",
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


def _seconds(stated: Any) -> float:
    try:
        return float(stated)
    except (TypeError, ValueError):
        return 0.0  # none, or a date: the doubling wait serves
