"""Translation memory: what an engine has said already, on disk, shared by builds and processes."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from langadapt.contracts import Context, Translation
from langadapt.errors import DataError, StoreError

KEPT_EVERY = (256, 2.0)
"""The memory is written after so many sentences or seconds: what a kill can lose."""
ASKED_AT_ONCE = 500
"""Keys in one query; SQLite takes at most some thousands."""


class Memory:
    """Translations of one engine for one pair of languages.

    SQLite in write-ahead mode: several processes may read and write it, and a killed one loses what it had not yet stored, nothing
    else.  A memory is found by the engine's fingerprint, so another model or dictionary never answers for this one.

    Raises:
        StoreError: the file cannot be opened or is no memory.
    """

    def __init__(self, folder: Path, engine: str, fingerprint: str, source: str, target: str) -> None:
        digest = hashlib.sha256(f"{engine}\0{fingerprint}\0{source}\0{target}".encode()).hexdigest()[:16]
        self.path = folder / "translations" / f"{source}-{target}-{digest}.sqlite"
        with self._told():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(self.path, timeout=60)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute(
                "CREATE TABLE IF NOT EXISTS said (key BLOB PRIMARY KEY, text TEXT NOT NULL, score REAL, unknown INTEGER) WITHOUT ROWID"
            )

    def close(self) -> None:
        """Close the file; what was added is there."""
        self._base.close()

    def find(self, texts: Sequence[str]) -> dict[str, Translation]:
        """The translations known among `texts`."""
        found: dict[str, Translation] = {}
        with self._told():
            for start in range(0, len(texts), ASKED_AT_ONCE):
                keys = {_key(text): text for text in texts[start : start + ASKED_AT_ONCE]}
                marks = ",".join("?" * len(keys))
                for key, text, score, unknown in self._base.execute(
                    f"SELECT key, text, score, unknown FROM said WHERE key IN ({marks})", list(keys)
                ):
                    found[keys[key]] = Translation(text, score, unknown)
        return found

    def add(self, said: Sequence[tuple[str, Translation]]) -> None:
        """Store translations, all of them or none."""
        with self._told(), self._base:
            self._base.executemany(
                "INSERT OR REPLACE INTO said VALUES (?, ?, ?, ?)", [(_key(text), t.text, t.score, t.unknown) for text, t in said]
            )

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"the translation memory cannot be used: {error}",
                where=str(self.path),
                hint="Free disk space, or delete this file: its sentences are then translated again.",
            ) from error


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def remembered(translator: Any, sentences: list[str], source: str, target: str, ctx: Context) -> dict[str, Translation]:
    """Sentence → translation of distinct sentences, from the memory or else from the engine, whose answers are kept as they come.

    Raises:
        DataError: the translator cannot serve the pair here, or left sentences without an answer.
    """
    offer = translator.offer(source, target)
    if not offer.ready:
        raise DataError(f"{translator.name} cannot translate {source} → {target} here", hint=offer.needs)
    memory = Memory(ctx.cache, str(translator.identity()), offer.fingerprint, source, target)
    try:
        found = memory.find(sentences)
        todo = [text for text in sentences if text not in found]
        ctx.log.info(f"{len(sentences):,} distinct sentences, {len(found):,} translated before; {offer.name}")
        start = time.monotonic()
        if todo:
            found |= _asked(translator, todo, source, target, memory, ctx)
            ctx.log.info(f"{len(todo) / max(time.monotonic() - start, 1e-9):,.0f} sentences/s")
        return found
    finally:
        memory.close()


def _asked(translator: Any, todo: list[str], source: str, target: str, memory: Memory, ctx: Context) -> dict[str, Translation]:
    found: dict[str, Translation] = {}
    fresh: list[tuple[str, Translation]] = []
    last = time.monotonic()
    try:
        for place, one in ctx.log.track(translator.translate(todo, source, target, ctx), "translating", len(todo)):
            fresh.append((todo[place], one))
            if len(fresh) >= KEPT_EVERY[0] or time.monotonic() - last >= KEPT_EVERY[1]:
                memory.add(fresh)
                found.update(fresh)
                fresh, last = [], time.monotonic()
    finally:
        memory.add(fresh)
        found.update(fresh)
    if len(found) != len(todo):
        lost = next(text for text in todo if text not in found)
        raise DataError(
            f"{translator.name} answered for {len(found):,} of {len(todo):,} sentences",
            where=repr(lost[:80]),
            hint="This is a fault of the engine or its plugin; what it did answer is kept.",
        )
    return found
