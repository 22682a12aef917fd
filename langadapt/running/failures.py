"""What ended a stage, as a person should read it."""

from __future__ import annotations

import errno
import inspect
import sys
import traceback

from langadapt.contracts.component import Component
from langadapt.contracts.plan import PlannedStage
from langadapt.errors import LangadaptError, PlanError, StageFailed
from langadapt.store import disk_error

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EFBIG, errno.EPERM)
"""Errors of the system that are about the disk, and not about a stage."""


def told(error: BaseException, stage: PlannedStage) -> BaseException:
    """The error as a person should read it, naming the stage, and the plugin if one of its components raised."""
    if isinstance(error, LangadaptError):
        error.what = f"stage '{stage.name}': {error.what}"
        return error
    if isinstance(error, OSError) and error.errno in DISK:
        return disk_error(error, f"stage '{stage.name}' cannot write {error.filename or 'its files'}")
    if "No space left on device" in str(error):  # safetensors and Arrow wrap the OS's error in their own
        return disk_error(OSError(errno.ENOSPC, "No space left on device"), f"stage '{stage.name}' cannot write its files")
    if not isinstance(error, Exception):
        return error  # Ctrl-C and friends pass through
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    culprit = _component_in(stage, frames)
    if culprit is not None:
        told: LangadaptError = PlanError(
            f"stage '{stage.name}': the {culprit.kind} '{culprit.name}' raised {type(error).__name__}: {error}",
            where=f"{last.filename}:{last.lineno}",
            hint="Check the input it was given, or report it to the plugin's author (--debug shows the traceback).",
        )
        return told
    return StageFailed(
        f"stage '{stage.name}' failed: {type(error).__name__}: {error}",
        where=f"{last.filename}:{last.lineno}",
        hint="Run 'langadapt --debug build …' for the traceback; finished stages and checkpoints are kept.",
    )


def _component_in(stage: PlannedStage, frames: traceback.StackSummary) -> Component | None:
    """The component of a stage whose own class, or else module, a traceback passes through, unless it is the core's."""
    components = [item for slot in stage.slots.values() for item in (slot if isinstance(slot, list) else [slot]) if item is not None]
    foreign = [item for item in components if not type(item).__module__.startswith("langadapt.")]
    for place in (_class_place, _module_place):
        for component in foreign:
            file, lines = place(type(component))
            if any(frame.filename == file and (frame.lineno or 0) in lines for frame in frames):
                return component  # type: ignore[no-any-return]
    return None


def _class_place(found: type) -> tuple[str, range]:
    """File and lines of a class; nothing where its source cannot be read."""
    try:
        lines, start = inspect.getsourcelines(found)
    except (OSError, TypeError):
        return "", range(0)
    return str(inspect.getsourcefile(found)), range(start, start + len(lines))


def _module_place(found: type) -> tuple[str, range]:
    return str(getattr(sys.modules.get(found.__module__), "__file__", "")), range(sys.maxsize)
