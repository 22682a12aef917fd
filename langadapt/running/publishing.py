"""The release of a build, copied out of the store into its run folder: whole, or not at all.

Every step can be the last: a process that is killed between two of them leaves a folder that the next build of the same command puts
right.  The marker that says "a build made this" is written before anything appears under the release's name.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from langadapt.errors import StoreError
from langadapt.files import RECORD, write_text
from langadapt.release.card import SUMS, altered
from langadapt.store import disk_error

RELEASE, MARKER = "release", ".release-key"
"""The release's folder, and beside it the key of the artifact that it is, or is about to be, a copy of."""

FRESH, OLD, LOCK = ".release-copy", ".release-before", ".release.lock"
"""A copy that is being made, the release that it is about to replace, and what a build holds meanwhile."""


def is_ours(run: Path) -> bool:
    """Whether a build published, or was about to publish, into a run folder."""
    return (run / MARKER).is_file()


@contextlib.contextmanager
def _alone(run: Path, wait: bool) -> Iterator[bool]:
    """Hold the one right to change a run folder's release; False where another build has it and `wait` is off."""
    with (run / LOCK).open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def tidy(run: Path) -> None:
    """Put right what a build that was killed while it published left: part copies go, a release moved aside comes back."""
    with _alone(run, wait=False) as alone:
        if alone:
            _tidy(run)


def _tidy(run: Path) -> None:
    for left in (*run.glob(f"{FRESH}.*"), *run.glob(".release-[0-9]*"), *run.glob(f".{MARKER}.*")):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
    for old in (run / OLD, *run.glob(".old-[0-9]*")):
        if not old.is_dir():
            continue
        if (run / RELEASE).exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(run / RELEASE)


def publish(artifact: Path, key: str, run: Path) -> Path:
    """Make ``release`` in a run folder a copy of an artifact; one that is that copy already stays.  Returns its path.

    Raises:
        StoreError: the disk is full, the run folder cannot be written, or the artifact changed while it was copied.
    """
    with _alone(run, wait=True):
        return _publish(artifact, key, run)


def _publish(artifact: Path, key: str, run: Path) -> Path:
    target, fresh, old = run / RELEASE, run / f"{FRESH}.{os.getpid()}", run / OLD
    if is_ours(run) and (run / MARKER).read_text(encoding="utf-8").strip() == key and _is_copy(target, artifact):
        return target
    try:
        write_text(run / MARKER, f"{key}\n".encode())
        shutil.copytree(artifact, fresh, ignore=shutil.ignore_patterns(RECORD))
        if not _is_copy(fresh, artifact):
            raise StoreError("the release changed while it was copied", where=str(artifact), hint="Run the same command again.")
        if target.exists():
            target.rename(old)
        fresh.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    except shutil.Error as error:  # one complaint a file: the first one's reason is that of all
        raise disk_error(_first(error), f"the release cannot be copied to {target}", "--out") from error
    except OSError as error:
        raise disk_error(error, f"the release cannot be copied to {target}", "--out") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if old.is_dir() and not target.exists():
            old.rename(target)
    return target


def _is_copy(folder: Path, artifact: Path) -> bool:
    """Whether a folder holds what a stored release states, every file as it was written; what a user put beside them is theirs."""
    try:
        return (folder / SUMS).read_bytes() == (artifact / SUMS).read_bytes() and not list(altered(folder))
    except (StoreError, OSError):
        return False


def _first(error: shutil.Error) -> OSError:
    """The first reason of a failed copy, as the system's own error."""
    reasons = [str(item[2]) for item in error.args[0] if isinstance(item, tuple) and len(item) == 3] if error.args else []
    full = any(f"[Errno {errno.ENOSPC}]" in reason for reason in reasons)
    number = errno.ENOSPC if full else errno.EIO
    return OSError(number, os.strerror(number) if full or not reasons else reasons[0])
