"""The store: immutable artifacts by key, written aside and renamed once.

Layout below the root::

    objects/<key>/        a finished artifact: its files and artifact.json, written last
    partial/<key>/        scratch of a stage that has not finished: staging files and training checkpoints
    locks/<key>.lock      held (flock) while a stage runs; the kernel frees it when a process dies
    roots/<hash>.json     run folders that refer to artifacts; what none refers to may be collected
    roots/<hash>.lock     held (flock) while a build of that run folder runs
    damaged/<key>.<n>     artifacts whose files were no longer what was written, set aside
    cache/                translation memories, converted models, vectors of evaluations: time saved, never a result

Nothing is in ``objects`` that was not complete when it appeared there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langadapt.errors import StoreError
from langadapt.files import RECORD, Stamp, damage, digests, read_json, stable_hash, stamps, strangers, write_json


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
        self._sound: dict[str, tuple[tuple[str, Stamp], ...]] = {}
        """Artifacts whose digests were right in this process, by the stamps that their files had then."""

    def prepare(self) -> None:
        """Make the folders and check that they can be written.

        Raises:
            StoreError: the root is not writable, or not a folder.
        """
        if self.root.exists() and not self.root.is_dir():
            raise StoreError("is no folder", where=str(self.root), hint="Choose another store with --store or LANGADAPT_STORE.")
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
            self._sound[key] = stamps(target)
        shutil.rmtree(self.root / "partial" / key, ignore_errors=True)
        return target

    def damage(self, key: str) -> list[Damage]:
        """What is wrong with an artifact that is about to be read; an unchanged one is digested once a process."""
        if self._sound.get(key) == stamps(self.path(key)):
            return []
        before = stamps(self.path(key))
        found = self._recorded(key)
        if not found:
            self._sound[key] = before
        return found

    def set_aside(self, key: str) -> list[str]:
        """Move a damaged artifact, and all that was made from it, out of the way; returns their keys.

        They go to ``damaged/``, to be looked at or deleted; none is read again.
        """
        victims = [key, *self.made_from(key)]
        aside = self.root / "damaged"
        try:
            aside.mkdir(exist_ok=True)
            for victim in victims:
                with self.lock(victim):
                    if self.path(victim).exists():  # another build may have been first
                        self.path(victim).rename(_free(aside, victim))
                        shutil.rmtree(self.root / "partial" / victim, ignore_errors=True)
        except OSError as error:
            raise disk_error(error, f"the damaged artifact {key} cannot be set aside") from error
        return victims

    def made_from(self, key: str) -> list[str]:
        """Keys of the finished artifacts that a stage made out of this one, and out of those."""
        inputs = {other: self._inputs(other) for other in self.keys()}
        found, todo = [], [key]
        while todo:
            source = todo.pop()
            for other, keys in inputs.items():
                if source in keys and other not in found:
                    found.append(other)
                    todo.append(other)
        return found

    def _inputs(self, key: str) -> set[str]:
        """Keys that an artifact's record names as its inputs; none where the record cannot be read."""
        try:
            identity = self.record(key).get("identity")
            stated = identity["inputs"].values() if isinstance(identity, dict) else ()
            return {str(one) for keys in stated for one in (keys if isinstance(keys, list) else [keys])}
        except (StoreError, AttributeError, KeyError, TypeError):
            return set()

    def record(self, key: str) -> dict[str, Any]:
        """What ``artifact.json`` of a finished artifact says."""
        found: dict[str, Any] = read_json(self.path(key) / RECORD)
        return found

    def keys(self) -> list[str]:
        """Keys of all finished artifacts."""
        folder = self.root / "objects"
        return sorted(path.name for path in folder.iterdir() if self.has(path.name)) if folder.is_dir() else []

    def verify(self, key: str) -> list[Damage]:
        """Compare every file of an artifact with its recorded digest, and name what stands there besides."""
        found = self._recorded(key)
        if found and found[0].file == RECORD:
            return found
        return found + [Damage(key, file, what) for file, what in strangers(self.path(key), {*self.record(key)["files"], RECORD})]

    def _recorded(self, key: str) -> list[Damage]:
        """What is wrong with the record of an artifact, or with a file that it names."""
        try:
            record = self.record(key)
        except StoreError as error:
            return [Damage(key, RECORD, error.what)]
        files = record.get("files") if isinstance(record, dict) else None
        if not isinstance(files, dict) or record.get("key") != key:
            return [Damage(key, RECORD, "is not the record of this artifact")]
        if stable_hash(files) != record.get("digest"):
            return [Damage(key, RECORD, "was altered (its digest differs)")]
        return [Damage(key, file, what) for file, what in damage(self.path(key), files)]

    def add_root(self, run: Path, keys: list[str]) -> None:
        """Remember that a run folder refers to these artifacts."""
        name = stable_hash(str(run.absolute()))[:24]
        write_json(self.root / "roots" / f"{name}.json", {"run": str(run.absolute()), "keys": keys})

    @contextlib.contextmanager
    def building(self, run: Path) -> Iterator[None]:
        """Say, while a build runs, that its artifacts are in use, even if its run folder is deleted meanwhile."""
        path = self.root / "roots" / f"{stable_hash(str(run.absolute()))[:24]}.lock"
        with path.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH)
            yield

    def live(self) -> set[str]:
        """Keys that an existing run folder, or a running build, refers to."""
        found: set[str] = set()
        for file in sorted((self.root / "roots").glob("*.json")):
            try:
                root = read_json(file)
                run, keys = Path(root["run"]), [str(key) for key in root["keys"]]
            except (StoreError, KeyError, TypeError) as error:
                raise StoreError(
                    "names no run folder and its artifacts, so what is in use cannot be told",
                    where=str(file),
                    hint="Delete this file if you know that its build is done with; nothing was removed.",
                ) from error
            if (run / "lock.json").is_file() or _held(file.with_suffix(".lock")):
                found.update(keys)
        return found

    def collect(self, dry_run: bool, keep_partial_days: float = 7.0) -> list[tuple[str, int]]:
        """Remove artifacts that no run folder refers to, damaged ones set aside, and scratch older than a week.

        What a running build is making or reading stays.

        Returns:
            (name, bytes) of what was removed, or would be.
        """
        live = self.live()
        victims = [self.path(key) for key in self.keys() if key not in live]
        oldest = time.time() - keep_partial_days * 86400
        victims += [p for p in (self.root / "partial").glob("*") if p.is_dir() and p.stat().st_mtime < oldest]
        victims += [p for p in (self.root / "objects").glob(".doomed-*") if p.is_dir()]
        victims += [p for p in (self.root / "damaged").glob("*") if p.is_dir()]
        removed = []
        for path in victims:
            if _held(self.root / "locks" / f"{path.name}.lock"):
                continue
            removed.append((path.name, sum(f.stat().st_size for f in path.rglob("*") if f.is_file())))
            if not dry_run:
                with self.lock(path.name):
                    # Renamed first: a reader never sees half an artifact.
                    doomed = path.with_name(f".doomed-{path.name.removeprefix('.doomed-')}")
                    path.rename(doomed)
                    shutil.rmtree(doomed)
        return removed


def _free(folder: Path, name: str) -> Path:
    """A path ``NAME.<n>`` that is not there yet."""
    return next(path for n in itertools.count() if not (path := folder / f"{name}.{n}").exists())


def _held(lock: Path) -> bool:
    """Whether another process holds a lock file."""
    if not lock.is_file():
        return False
    with lock.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


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
