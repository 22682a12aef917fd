"""The adapter bank: many adapters resident on one base, chosen per sentence, in one forward pass.

Adapters of all names are stacked per module, ``(slots, r, d)``; a batch carries one slot per sentence.  A module then does a gather
and two batched products, however many adapters meet in the batch (a plain product when they are all the same), as in S-LoRA (Sheng
et al. 2023, arXiv:2311.03285) without its kernels: an encoder has no decode loop that would need them.  Slot 0 is all zeros, and
zeros are exact: a sentence without an adapter gets the base's own vector.

Threads share a bank.  A name appears and disappears with everything that belongs to it: weights, how its texts are read, what it is
routed by.  What a forward pass uses is pinned for its time; adding writes a slot nobody reads, growing and shrinking make new stacks
beside those in use, removing waits for the last reader.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from langadapt.errors import ModelError, did_you_mean
from langadapt.inference.adapter_files import AdapterWeights
from langadapt.inference.fitting import Tensors, fitted
from langadapt.inference.listening import Listening
from langadapt.inference.reading import Reading
from langadapt.inference.slots import Part, Slots
from langadapt.inference.stacks import Key, Route, Stack

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class _Named:
    """What a name stands for."""

    parts: tuple[Part, ...]
    """Applied one after another in every module."""
    reading: Reading | None
    centroid: np.ndarray | None = None
    members: tuple[str, ...] = ()
    """Of a stack of named adapters, whose parts it borrows."""


class Lease:
    """The slots of a call's sentences, pinned until the call ends."""

    def __init__(
        self, bank: AdapterBank, stacks: Mapping[Key, Stack], slots: list[tuple[int, ...]], readings: list[Reading | None]
    ) -> None:
        self._bank, self._stacks = bank, stacks
        self.slots = slots
        """Of each sentence, one for every adapter that is applied to it in turn."""
        self.readings = readings
        """How each sentence's adapter reads its texts; None where that is as the base does."""

    @contextlib.contextmanager
    def rows(self, indices: Sequence[int]) -> Iterator[None]:
        """Apply the adapters of these sentences to the forward pass inside."""
        chosen = [self.slots[i] for i in indices]
        if not any(slot for slots in chosen for slot in slots):
            yield
            return
        self._bank.listening.local.route = Route(self._stacks, chosen, self._bank.slots.device)
        try:
            yield
        finally:
            self._bank.listening.local.route = None


class AdapterBank:
    """Resident adapters of one base.

    Args:
        body: the transformer without its head.
        max_resident: adapters kept in memory; beyond it the least recently used ones leave and are read again on use.
    """

    def __init__(self, body: PreTrainedModel, max_resident: int = 256) -> None:
        self.body = body
        self.listening = Listening(body)
        self.slots = Slots(body, self.listening, max_resident)
        self._lock = threading.RLock()
        self._names: dict[str, _Named] = {}

    # names ---------------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Adapters and stacks by name, in the order they were added."""
        with self._lock:
            return list(self._names)

    def resident(self) -> list[str]:
        """Adapters that are in memory."""
        with self._lock:
            return [name for name, one in self._names.items() if not one.members and all(part.slot is not None for part in one.parts)]

    def centroids(self) -> dict[str, np.ndarray]:
        """The centroid (d,) of every adapter that has one."""
        with self._lock:
            return {name: one.centroid for name, one in self._names.items() if one.centroid is not None}

    def add(
        self,
        name: str,
        *reads: Callable[[], AdapterWeights],
        reading: Reading | None = None,
        centroid: np.ndarray | None = None,
        replace: bool = False,
    ) -> None:
        """Make an adapter resident under a name.

        Args:
            name: what a lease calls it.
            reads: bring its weights, now and after they left memory; several are applied one after another.
            reading: how its texts are read, where that is not as the base does.
            centroid: (d,) what a router knows it by.
            replace: take the place of the adapter of that name, if there is one, in one step: calls that use it just now end on it.

        Raises:
            ModelError: the name is taken, or a stack names the adapter to replace, or the weights do not fit this base.
        """
        check = self._replaceable if replace else self._new_name
        with self._lock:
            check(name)
        weights = [fitted(read(), self.body, self.listening.blocks) for read in reads]
        with self._lock:
            check(name)
            # Pinned while it is placed: making room for its last part must not drop the first.
            parts = tuple(Part(partial(self._read, read), pins=1) for read in reads)
            try:
                for part, tensors in zip(parts, weights, strict=True):
                    self.slots.place(part, tensors, self._parts())
            except BaseException:
                for part in parts:
                    part.pins, part.removed = 0, True
                    self.slots.release(part)
                raise
            for part in parts:
                part.pins = 0
            before = self._names.get(name)
            self._names[name] = _Named(parts, reading, centroid)
            for part in before.parts if before is not None and not before.members else ():
                part.removed = True
                self.slots.release(part)

    def _replaceable(self, name: str) -> None:
        """Refuse a name that a stack uses: its members stay what they were when it was made."""
        users = [stack for stack, one in self._names.items() if name in one.members]
        if users:
            raise ModelError(f"the adapter '{name}' is part of the stack '{users[0]}'", hint="Remove the stack first.")

    def _parts(self) -> list[Part]:
        """Of every adapter; a stack borrows its members'."""
        return [part for one in self._names.values() if not one.members for part in one.parts]

    def _read(self, read: Callable[[], AdapterWeights]) -> Tensors:
        return fitted(read(), self.body, self.listening.blocks)

    def stack(self, name: str, members: Sequence[str]) -> None:
        """Name a sequence of adapters applied one after another (Pfeiffer et al. 2020, arXiv:2005.00052).

        Its texts are read as its members read theirs.

        Raises:
            ModelError: the name is taken, a member is unknown, or the members read texts differently.
        """
        with self._lock:
            self._new_name(name)
            self._known([*members])
            if not members:
                raise ModelError(f"the stack '{name}' has no members")
            found = [self._names[member] for member in members]
            for member, one in zip(members[1:], found[1:], strict=True):
                if one.reading != found[0].reading:
                    raise ModelError(
                        f"'{members[0]}' and '{member}' cannot be stacked: they read texts by another prompt, normalizer or maximum length",
                        hint="Stack adapters that were trained on texts prepared alike.",
                    )
            flat = tuple(one for member, it in zip(members, found, strict=True) for one in it.members or (member,))
            self._names[name] = _Named(tuple(part for one in found for part in one.parts), found[0].reading, members=flat)

    def remove(self, name: str) -> None:
        """Forget an adapter or a stack; forward passes that use it end first, undisturbed.

        Raises:
            ModelError: there is none of that name, or a stack still names it.
        """
        with self._lock:
            self._known([name])
            self._replaceable(name)
            one = self._names.pop(name)
            for part in () if one.members else one.parts:
                part.removed = True
                self.slots.release(part)

    def _new_name(self, name: str) -> None:
        if not name:
            raise ModelError("an adapter needs a name", hint="The empty name stands for the base alone.")
        if name in self._names:
            raise ModelError(f"there is an adapter '{name}' already", hint="Remove it first, or choose another name.")

    def _known(self, names: Sequence[str]) -> None:
        unknown = [name for name in dict.fromkeys(names) if name not in self._names]
        if unknown:
            hint = did_you_mean(unknown[0], list(self._names)) if self._names else "Add it with add_adapter() first."
            raise ModelError(f"no adapter is called {', '.join(repr(name) for name in unknown)}", hint=hint)

    # use -----------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def lease(self, names: Sequence[str | None]) -> Iterator[Lease]:
        """Pin the adapters of these sentences (None for the base alone) until the block ends.

        Raises:
            ModelError: unknown names, all of them listed; nothing was done then.
        """
        pinned: list[Part] = []
        try:
            with self._lock:
                self._known([name for name in names if name is not None])
                found = {name: self._names[name] for name in dict.fromkeys(names) if name is not None}
                # Pinned before anything is read: an adapter that is removed meanwhile stays for this call.
                for part in dict.fromkeys(part for one in found.values() for part in one.parts):
                    part.pins += 1
                    pinned.append(part)
            for part in pinned:
                self._ensure(part)
            with self._lock:
                self.slots.use(pinned)
                depth = max((len(one.parts) for one in found.values()), default=1)
                slots = {name: tuple(part.slot or 0 for part in one.parts) for name, one in found.items()}
                rows = [slots[name] if name is not None else () for name in names]
                readings = [found[name].reading if name is not None else None for name in names]
                lease = Lease(self, self.slots.stacks, [row + (0,) * (depth - len(row)) for row in rows], readings)
            yield lease
        finally:
            with self._lock:
                for part in pinned:
                    part.pins -= 1
                for part in pinned:
                    self.slots.release(part)

    def joint(self, rows: Sequence[tuple[Lease | None, int]]) -> Lease | None:
        """One lease of sentences of several, each its lease and its place there; it is good as long as all of those are.

        Pinned adapters keep their slots, and every newer stack has them: the newest one serves leases of any age.
        """
        slots = [lease.slots[i] if lease is not None else () for lease, i in rows]
        depth = max(map(len, slots), default=0)
        with self._lock:
            stacks = self.slots.stacks
        return Lease(self, stacks, [row + (0,) * (depth - len(row)) for row in slots], []) if depth else None

    def _ensure(self, part: Part) -> None:
        """Read a pinned adapter back in when it has left memory; reading holds no lock."""
        with self._lock:
            if part.slot is not None:
                return
        weights = part.read()
        with self._lock:
            if part.slot is None:
                self.slots.place(part, weights, self._parts())
