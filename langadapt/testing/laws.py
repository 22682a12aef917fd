"""Laws by kind: what holds of every component of a kind, whatever it does.  Each is a function that asserts, found by its kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langadapt.contracts.component import Component
from langadapt.manifests.resource import Resource
from langadapt.testing.toys import Toy


@dataclass(frozen=True)
class Case:
    """One component before one law."""

    component: Any
    toy: Toy
    folder: Path
    """An empty folder to write into."""
    rows: list[dict[str, Any]] | None = None
    """Rows of data that the plugin's author gives for it; None makes some from the columns it declares."""
    pooler: Any = None
    """Slot of the pooler that an objective stands on; None for the mean."""
    translator: Any = None
    """Slot of what pairs of another language are translated with."""


class NotTried(Exception):
    """Raised by a law that has nothing to judge in a component, and says why: pytest shows it as skipped."""


Law = Callable[[Case], None]
LAWS: dict[str, list[Law]] = {}


def law(*kinds: str) -> Callable[[Law], Law]:
    """File a function under the kinds whose components it judges."""

    def keep(function: Law) -> Law:
        for kind in kinds:
            LAWS.setdefault(kind, []).append(function)
        return function

    return keep


def reads_resources(component: Any) -> bool:
    """Whether an option, of it or of a component in it, is a resource."""
    values = [getattr(component, name) for name in type(component).model_fields]
    return any(isinstance(value, Resource) or (isinstance(value, Component) and reads_resources(value)) for value in values)
