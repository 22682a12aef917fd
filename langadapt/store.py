"""The store: immutable artifacts by key, written aside and renamed once.

Layout below the root::

    objects/<key>/        a finished artifact: its files and artifact.json, written last
    partial/<key>/        scratch of a stage that has not finished: staging files and training checkpoints
    locks/<key>.lock      held (flock) while a stage runs; the kernel frees it when a process dies
    roots/<hash>.json     run folders that refer to artifacts; what none refers to may be collected
    cache/                translation memories and converted models: time saved, never a result

Nothing is in ``objects`` that was not complete when it appeared there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langadapt.artifacts.files import RECORD, damage, digests, read_json, stable_hash, write_json
from langadapt.errors import StoreError


def default_root() -> Path:
    """``$LANGADAPT_STORE``, else ``~/.cache/langadapt/store``."""
    given = os.environ.get("LANGADAPT_STORE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "langadapt" / "store"


@dataclass(frozen=True)
class Damage:
    """One file of an artifact that is not what it was when the artifact was written."""

    key: str
    file: str
    what: str


class Store:
    """Artifacts below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def prepare(self) -> None:
        """Make the folders and check that they can be written.

        Raises:
            StoreError: the root is not writable, or not a folder.
        """
        try:
            for name in ("objects", "partial", "locks", "roots"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            probe = self.root / "partial" / f".probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise disk_error(error, f"the store {self.root} cannot be written") from error

    @property
    def cache(self) -> Path:
        """What components keep between builds."""
        return self.root / "cache"

    def path(self, key: str) -> Path:
        """Where the artifact of a key is, or would be."""
        return self.root / "objects" / key

    def has(self, key: str) -> bool:
        """True when the artifact is there and complete."""
        return (self.path(key) / RECORD).is_file()

    def partial(self, key: str) -> Path:
        """The scratch folder of a key; it survives a kill and goes when the artifact is committed."""
        folder = self.root / "partial" / key
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextlib.contextmanager
    def lock(self, key: str, waiting: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold the one right to produce a key; `waiting` is called once if another process holds it."""
        path = self.root / "locks" / f"{key}.lock"
        with path.open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waiting:
                    waiting()
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def commit(self, key: str, folder: Path, record: dict[str, Any]) -> Path:
        """Digest a staged folder, write its record last, and rename it into place.

        A folder already in place wins: same key, same artifact.
        """
        files = digests(folder)
        full = {"key": key, "digest": stable_hash(files), "files": files, **record}
        write_json(folder / RECORD, full)
        for name in [*files, RECORD]:
            (folder / name).chmod(0o644)  # some writers leave 0600: a shared store and a release are for others to read
            _sync(folder / name)
        target = self.path(key)
        if not self.has(key):
            if target.exists():  # not complete: left by a copy from elsewhere
                shutil.rmtree(target)
            folder.rename(target)
            _sync(target.parent)
        shutil.rmtree(self.root / "partial" / key, ignore_errors=True)
        return target

    def record(self, key: str) -> dict[str, Any]:
        """What ``artifact.json`` of a finished artifact says."""
        found: dict[str, Any] = read_json(self.path(key) / RECORD)
        return found

    def keys(self) -> list[str]:
        """Keys of all finished artifacts."""
        folder = self.root / "objects"
        return sorted(path.name for path in folder.iterdir() if self.has(path.name)) if folder.is_dir() else []

    def verify(self, key: str) -> list[Damage]:
        """Compare every file of an artifact with its recorded digest."""
        files = self.record(key).get("files")
        if not isinstance(files, dict):
            return [Damage(key, RECORD, "is not the record of an artifact")]
        return [Damage(key, file, what) for file, what in damage(self.path(key), files)]

    def add_root(self, run: Path, keys: list[str]) -> None:
        """Remember that a run folder refers to these artifacts."""
        name = stable_hash(str(run.absolute()))[:24]
        write_json(self.root / "roots" / f"{name}.json", {"run": str(run.absolute()), "keys": keys})

    def live(self) -> set[str]:
        """Keys that an existing run folder refers to."""
        found: set[str] = set()
        for file in sorted((self.root / "roots").glob("*.json")):
            root = read_json(file)
            if (Path(root["run"]) / "lock.json").is_file():
                found.update(root["keys"])
        return found

    def collect(self, dry_run: bool, keep_partial_days: float = 7.0) -> list[tuple[str, int]]:
        """Remove artifacts that no run folder refers to, and scratch older than a week.

        Returns:
            (name, bytes) of what was removed, or would be.
        """
        live = self.live()
        victims = [self.path(key) for key in self.keys() if key not in live]
        oldest = time.time() - keep_partial_days * 86400
        victims += [p for p in (self.root / "partial").glob("*") if p.is_dir() and p.stat().st_mtime < oldest]
        removed = []
        for path in victims:
            removed.append((path.name, sum(f.stat().st_size for f in path.rglob("*") if f.is_file())))
            if not dry_run:
                with self.lock(path.name):
                    # Renamed first: a reader never sees half an artifact.
                    doomed = path.with_name(f".doomed-{path.name}")
                    path.rename(doomed)
                    shutil.rmtree(doomed)
        return removed


def disk_error(error: OSError, what: str, option: str = "--store or LANGADAPT_STORE") -> StoreError:
    """A full disk or a forbidden folder as one paragraph; `option` is what chooses another one."""
    elsewhere = f"Choose another folder with {option}."
    hints = {
        errno.ENOSPC: "The disk is full: free some space ('langadapt gc' removes unused artifacts) and run the same command again.",
        errno.EDQUOT: "The quota is used up: free some space and run the same command again.",
        errno.EFBIG: "The file system or a limit (ulimit -f) forbids files of this size: lift it and run the same command again.",
    }
    return StoreError(
        f"{what}: {error.strerror or error}",
        hint=hints.get(error.errno or 0, elsewhere),
    )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
