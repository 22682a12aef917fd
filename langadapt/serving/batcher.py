"""Calls that share forward passes: whatever waits when a pass ends goes into the next one, whoever asked and through whichever adapter.

Nothing waits for company: a lone request is run at once, and while it runs the others gather (continuous batching; Yu et al. 2022, Orca,
OSDI).  A long request gives way: it takes half of a pass and goes behind the others.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from langadapt.errors import ModelError
from langadapt.inference.asking import Asked, asked, vectors_together
from langadapt.inference.encoder import Encoder
from langadapt.inference.scorer import Scorer
from langadapt.serving.protocol import Refusal

logger = logging.getLogger("langadapt")

PASSES = 2
"""Forward passes that are taken together: of more texts more are of one length, and padded less."""

LONGEST = 512
"""Tokens that a pair is counted with at most."""

PAIRS = 64
"""Pairs that a scorer reads before embeddings get their turn."""


class Full(Exception):
    """As much waits as may wait.

    Args:
        seconds: until it is done, as fast as the last passes were.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"about {seconds:.0f} s of work wait")
        self.seconds = seconds


@dataclass(eq=False)
class Embedding:
    """A call whose texts wait for their vectors."""

    call: Asked
    held: ExitStack
    """Ends the call's hold on its adapters."""
    vectors: np.ndarray
    """(n, d) float32, filled as passes end."""
    future: Future[np.ndarray] = field(default_factory=Future)
    taken: int = 0
    made: int = 0

    @property
    def waiting(self) -> int:
        """Tokens that no pass has taken yet."""
        return sum(map(len, self.call.ids[self.taken :]))


@dataclass(eq=False)
class Scoring:
    """Pairs that wait for their scores."""

    pairs: Sequence[tuple[str, str]]
    future: Future[np.ndarray] = field(default_factory=Future)
    scores: list[np.ndarray] = field(default_factory=list)
    taken: int = 0

    @property
    def tokens(self) -> int:
        """About as many as all pairs have: four characters each, and no pair more than a scorer reads."""
        return sum(min(len(a) + len(b), 4 * LONGEST) for a, b in self.pairs) // 4


@dataclass(frozen=True)
class Pass:
    """What one pass did, for whoever counts."""

    texts: int
    tokens: int
    seconds: float


class Batcher:
    """One thread that runs an encoder, and a scorer, for all calls.

    Args:
        encoder: its adapters may be added, replaced and removed meanwhile.
        scorer: reranks; None refuses to.
        batch_tokens: padded tokens in one forward pass.
        most_waiting: tokens that may wait; beyond, calls are refused.
        told: called after every pass.
    """

    def __init__(
        self,
        encoder: Encoder,
        scorer: Scorer | None = None,
        batch_tokens: int = 4096,
        most_waiting: int = 500_000,
        told: Callable[[Pass], None] = lambda _: None,
    ) -> None:
        self.encoder, self.scorer = encoder, scorer
        self.batch_tokens, self.most_waiting, self.told = batch_tokens, most_waiting, told
        self._changed = threading.Condition()
        self._waiting: deque[Embedding | Scoring] = deque()
        self._tokens = 0
        self._speed = 2000.0
        """Tokens a second, a running mean."""
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="passes", daemon=True)
        self._thread.start()

    @property
    def waiting_tokens(self) -> int:
        """Tokens of texts that no pass has taken yet."""
        return self._tokens

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def embed(self, texts: Sequence[str], adapter: str | Sequence[str | None] | None) -> tuple[Asked, Future[np.ndarray]]:
        """Read texts, one at least, and let their vectors be made.

        Returns:
            What was read, and a future of (n, d) float32 for :meth:`Encoder.finished`.  Cancelled, what no pass has taken yet is dropped.

        Raises:
            DataError, ModelError: as :meth:`Encoder.encode`.
            Full: too much waits.
            Refusal: the server is stopping.
        """
        self._check_room()
        with ExitStack() as stack:
            call = stack.enter_context(asked(self.encoder, texts, adapter))
            found = Embedding(call, stack.pop_all(), np.empty((len(call.ids), self.encoder.width), np.float32))
        try:
            self._queue(found, call.tokens)
        except BaseException:
            found.held.close()
            raise
        return call, found.future

    def score(self, pairs: Sequence[tuple[str, str]]) -> Future[np.ndarray]:
        """Let a logit a pair be made: (n,) float32.

        Raises:
            ModelError: there is no scorer.
            Full: too much waits.
        """
        if self.scorer is None:
            raise ModelError("no scorer is served", hint="Start the server with --scorer.")
        self._check_room()
        found = Scoring(pairs)
        self._queue(found, found.tokens)
        return found.future

    def close(self) -> None:
        """End when everything that waits is done."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join()

    def _check_room(self) -> None:
        if self._tokens > self.most_waiting:
            raise Full(self._tokens / self._speed)

    def _queue(self, one: Embedding | Scoring, tokens: int) -> None:
        with self._changed:
            if self._ending or not self.alive:
                raise Refusal(503, "the server is stopping", "stopping", retry_after=5.0)
            self._check_room()  # others came while this one was read
            self._waiting.append(one)
            self._tokens += tokens
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._ending:
                    self._changed.wait()
                if not self._waiting:
                    return
                first = self._waiting[0]
                rows = [] if isinstance(first, Scoring) else self._share()
                if isinstance(first, Scoring):
                    self._waiting.popleft()
            if isinstance(first, Scoring):
                self._score(first)
            elif rows:
                self._embed(rows)

    def _share(self) -> list[tuple[Embedding, int]]:
        """Texts for the next pass, in the order of arrival; where several calls wait, a call gets half of a pass at most.

        Whole calls first: whoever is answered early asks again while the others' pass runs.
        """
        calls = [one for one in self._waiting if isinstance(one, Embedding)]
        left = PASSES * self.batch_tokens
        most = left if len(calls) == 1 else left // 2
        rows: list[tuple[Embedding, int]] = []
        for one in calls:
            if one.future.cancelled():
                self._drop(one)
                continue
            room = min(left, most)
            while one.taken < len(one.call.ids) and (room > 0 or not rows):
                rows.append((one, one.taken))
                size = len(one.call.ids[one.taken])
                one.taken, room, left = one.taken + 1, room - size, left - size
                self._tokens -= size
            self._waiting.remove(one)
            if one.taken < len(one.call.ids):
                self._waiting.append(one)  # behind those that wait for their first text
            if left <= 0:
                break
        return rows

    def _drop(self, one: Embedding) -> None:
        """Forget a call whose client has gone."""
        self._tokens -= one.waiting
        self._waiting.remove(one)
        _let_go(one)

    def _embed(self, rows: list[tuple[Embedding, int]]) -> None:
        start = time.monotonic()
        try:
            vectors = vectors_together(self.encoder, [(one.call, i) for one, i in rows], self.batch_tokens)
        except Exception as error:
            calls = list(dict.fromkeys(one for one, _ in rows))
            if len(calls) == 1:
                self._fail(calls[0], error)
                return
            for call in calls:  # whose texts it was is found out: nobody fails for another
                self._embed([(one, i) for one, i in rows if one is call])
            return
        seconds, tokens = time.monotonic() - start, sum(len(one.call.ids[i]) for one, i in rows)
        self._speed += 0.1 * (tokens / max(seconds, 1e-6) - self._speed)
        for (one, i), vector in zip(rows, vectors, strict=True):
            one.vectors[i] = vector
            one.made += 1
        self.told(Pass(len(rows), tokens, seconds))
        for one in dict.fromkeys(one for one, _ in rows):
            if one.made == len(one.call.ids):
                self._done(one)

    def _done(self, one: Embedding) -> None:
        if not np.isfinite(one.vectors).all():
            _answer(one.future.set_exception, ModelError("a vector is no number", hint="Look at the weights of the model that was asked."))
        else:
            _answer(one.future.set_result, one.vectors)
        _let_go(one)

    def _fail(self, one: Embedding, error: Exception) -> None:
        _answer(one.future.set_exception, error)
        with self._changed:
            if one in self._waiting:
                self._drop(one)
            else:
                _let_go(one)

    def _score(self, one: Scoring) -> None:
        """Score a block of pairs; what is left waits for its next turn."""
        assert self.scorer is not None
        block = one.pairs[one.taken : one.taken + PAIRS]
        if not one.future.cancelled():
            try:
                one.scores.append(self.scorer.score(block, batch_tokens=self.batch_tokens))
                one.taken += len(block)
                if one.taken < len(one.pairs):
                    with self._changed:
                        self._waiting.append(one)
                    return
                _answer(one.future.set_result, np.concatenate(one.scores))
            except Exception as error:
                _answer(one.future.set_exception, error)
        with self._changed:
            self._tokens -= one.tokens


def _let_go(one: Embedding) -> None:
    """End a call's hold on its adapters.  Freeing one may need memory for a moment: an error of that must not end the thread."""
    try:
        one.held.close()
    except Exception:
        logger.exception("an adapter could not be let go")


def _answer(give: Callable[[Any], None], what: Any) -> None:
    """Answer a call, unless its client has gone meanwhile."""
    with suppress(InvalidStateError):
        give(what)
