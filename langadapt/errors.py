"""Errors a person can act on: what went wrong, where it stands, what to do next.

Every error the user can mend derives from :class:`LangadaptError` and ends the command with exit code 2.
:class:`StageFailed` (a stage broke while it ran) ends it with 3.  The CLI prints them without a traceback
unless ``--debug`` is given.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST = 1_500
"""Characters of a sentence that is shown; a value of megabytes helps nobody."""


def shortened(text: str) -> str:
    """A text without its middle where it is too long to be read."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST * 2 // 3]} … {text[-LONGEST // 4 :]}"


class LangadaptError(Exception):
    """Base of all errors meant for people.

    Args:
        what: one sentence that says what is wrong.
        where: ``file:line``, key path or stage, if there is a place to point at.
        hint: one sentence that says what to do next.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(shortened(what))
        self.what = shortened(what)
        self.where = where
        self.hint = shortened(hint) if hint is not None else None

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.hint:
            parts.append(self.hint)
        return " ".join(parts)


class ManifestError(LangadaptError):
    """A language, domain or recipe manifest is not what it should be."""


class RegistryError(LangadaptError):
    """A component or plugin cannot be found, loaded or trusted."""


class PlanError(LangadaptError):
    """A recipe does not compile into a plan."""


class DataError(LangadaptError):
    """A data file is missing, malformed or empty."""


class SourceError(DataError):
    """What data are read or made with cannot be had now (no network, changed meanwhile, not installed): the next run may find it."""


class ModelError(LangadaptError):
    """A checkpoint or tokenizer cannot be used."""


class StoreError(LangadaptError):
    """The artifact store cannot be read or written."""


class StageFailed(LangadaptError):
    """A stage broke while it ran (a NaN, a plugin that raised, a full disk)."""

    exit_code = 3


class Problems(LangadaptError):
    """Several errors reported together, so that a user mends them in one go."""

    def __init__(self, errors: list[LangadaptError]) -> None:
        super().__init__(f"{len(errors)} problems found")
        self.errors = errors

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


def raise_all(errors: list[LangadaptError]) -> None:
    """Raise the one error, or all of them as :class:`Problems`; return when there are none."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise Problems(errors)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint naming the closest known name, or the known names when none is close."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean '{close[0]}'?"
    if not names:
        return "There is none to choose from."
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"Known: {shown}."
