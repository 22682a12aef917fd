"""Component: a named choice of one kind, with its options, behaviour, docs and cache identity in one class."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from langadapt.manifests.resource import Resource

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")


class _Unkeyed:
    """Marks an option that cannot change a result (a worker count, a device)."""

    def __repr__(self) -> str:
        return "Unkeyed"


Unkeyed = _Unkeyed()
"""``Annotated[int, Unkeyed]``: leave this option out of the cache key."""


@dataclass(frozen=True)
class Use:
    """Marks an option that is itself a component (or a list of them): ``Annotated[Any, Use("translator")]``.

    A recipe writes it as any slot, ``NAME`` or ``{use: NAME, …}``; the registry builds it.
    """

    kind: str


class Component(BaseModel):
    """Base class of every component.

    Derive from a kind's class (:class:`~langadapt.contracts.Pooler`, :class:`~langadapt.contracts.Objective` …), set `name`, declare
    options as pydantic fields and implement the kind's abstract methods.  Raise `version` whenever the same options give another result:
    it is part of the cache key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    kind: ClassVar[str]
    name: ClassVar[str]
    version: ClassVar[str] = "1"

    def identity(self) -> dict[str, Any]:
        """Name, version and keyed options as plain JSON, defaults explicit."""
        options: dict[str, Any] = {}
        for key, info in type(self).model_fields.items():
            if any(isinstance(mark, _Unkeyed) for mark in info.metadata):
                continue
            value = getattr(self, key)
            options[key] = _plain(value)
        return {"use": self.name, "version": self.version, **options}

    def shared_resource(self) -> Resource | None:
        """A resource of which training leaves a share to the test: its rows may stand on both sides; None as a rule."""
        return None

    def slot(self) -> dict[str, Any]:
        """The component as a slot that builds it again."""
        plain = self.model_dump(mode="json")
        return {"use": self.name, **{key: _slot(getattr(self, key), plain[key]) for key in type(self).model_fields}}


def _slot(value: Any, plain: Any) -> Any:
    """A nested component as its slot; everything else as pydantic wrote it."""
    if isinstance(value, Component):
        return value.slot()
    if isinstance(value, list | tuple) and any(isinstance(item, Component) for item in value):
        return [item.slot() for item in value]
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Resource | Component):
        return value.identity()
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Path):
        return str(value)
    return value


class Log(Protocol):
    """Where long work shows itself; the runner supplies one."""

    def info(self, message: str) -> None:
        """Say one line."""

    def warning(self, message: str) -> None:
        """Say one line that should not be missed."""

    def track(self, items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
        """Yield `items`, showing how far and how fast."""

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """Report figures of one step to observers and to the run's event file."""


class SilentLog:
    """A :class:`Log` that says nothing, for library use and tests."""

    def info(self, message: str) -> None:
        return None

    def warning(self, message: str) -> None:
        return None

    def track(self, items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
        return iter(items)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        return None


@dataclass(frozen=True)
class Context:
    """What a component may know of the run: nothing that names the recipe or the stage."""

    seed: int = 42
    device: str = "cpu"
    workdir: Path = Path(".")
    """Scratch folder of this stage; survives a kill until the stage is done."""
    cache: Path = Path(".cache")
    """Folder that outlives stages and builds (translation memories, converted models); deleting it loses time, never a result."""
    log: Log = field(default_factory=SilentLog)

    def rng(self, purpose: str) -> np.random.Generator:
        """A NumPy generator for one purpose: adding another purpose never shifts this one's stream."""
        import numpy as np

        return np.random.default_rng(self.seed_for(purpose))

    def seed_for(self, purpose: str) -> int:
        """A 63-bit integer seed derived from the plan's seed and a purpose."""
        digest = hashlib.sha256(f"{self.seed}:{purpose}".encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1
