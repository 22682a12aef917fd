"""Translation memory: what an engine has said already, on disk, shared by builds and processes."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from langadapt.errors import StoreError
from langadapt.registry.kinds import Translation

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
