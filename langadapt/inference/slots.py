"""Where adapters lie in memory: a slot each, a row of every stack that the adapter changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from langadapt.inference.fitting import Tensors
from langadapt.inference.listening import Listening
from langadapt.inference.stacks import Key, Stack, rest

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(eq=False)
class Part:
    """The weights of one adapter: how to read them again (tensors by stack and field), and where they are resident."""

    read: Callable[[], Tensors]
    slot: int | None = None
    pins: int = 0
    used: int = 0
    removed: bool = False


class Slots:
    """The stacks of one base and who stands in which row.  Whoever calls holds the bank's lock.

    Args:
        body: the transformer without its head.
        listening: its modules, which are told of every stack.
        max_resident: parts kept in memory.
    """

    def __init__(self, body: PreTrainedModel, listening: Listening, max_resident: int) -> None:
        self.listening, self.max_resident = listening, max_resident
        self.device = next(iter(body.parameters())).device
        self.stacks: dict[Key, Stack] = {}
        """Replaced as a whole, never changed in place: what a forward pass was given stays."""
        self._free: list[int] = []
        self._count = 1  # slot 0 is "none"
        self._room = 4
        self._clock = 0

    def use(self, parts: Iterable[Part]) -> None:
        """Note that parts are used now."""
        self._clock += 1
        for part in parts:
            part.used = self._clock

    def release(self, part: Part) -> None:
        """Free the slot of a part that was removed, once nobody reads it."""
        if part.removed and part.pins == 0 and part.slot is not None:
            self._vacate(part)
            self._shrink()

    @torch.inference_mode(False)
    @torch.no_grad()
    def _vacate(self, part: Part) -> None:
        """Give a slot back, all its rows at rest: the next adapter there may change fewer modules."""
        slot = part.slot
        assert slot is not None
        for stack in self.stacks.values():
            if slot in stack.ranks:
                del stack.ranks[slot]
                stack.gained.discard(slot)
                for name, stacked in stack.tensors.items():
                    stacked[slot].fill_(rest(name))
        self._free.append(slot)
        part.slot = None

    @torch.inference_mode(False)
    @torch.no_grad()
    def _shrink(self) -> None:
        """Free what the adapters that are left do not need; stacks in use stay as they are beside the smaller ones."""
        used = set(range(1, self._count)) - set(self._free)
        self._count = max(used, default=0) + 1
        self._free = [slot for slot in self._free if slot < self._count]
        room = self._room if self._count * 2 > self._room else max(4, self._count)
        self.stacks = {key: stack.shrunk(room) for key, stack in self.stacks.items() if stack.ranks}
        self._room = room

    @torch.inference_mode(False)
    @torch.no_grad()
    def place(self, part: Part, tensors: Tensors, others: Iterable[Part]) -> None:
        """Write a part into a slot that nobody reads; idle ones of the others leave where there is no room."""
        part.slot = self._take(others)
        try:
            self._write(part.slot, tensors)
        except BaseException:  # memory has run out, say: what was written already must not stay
            self._vacate(part)
            raise
        self.use([part])

    def _write(self, slot: int, tensors: Tensors) -> None:
        stacks, room = dict(self.stacks), self._room
        if slot >= room:  # every stack has a row for every slot: a batch gathers all its slots everywhere
            room = max(slot + 1, min(2 * room, self.max_resident + 1))
            stacks = {key: stack.grown(room, {}) for key, stack in stacks.items()}
        for key, parts in tensors.items():
            stacks[key] = stack = self._fitting(stacks.get(key), parts, room)
            for name, stacked in stack.tensors.items():
                row = stacked[slot]
                row.fill_(rest(name))
                if name in parts:
                    row[tuple(slice(0, n) for n in parts[name].shape)] = parts[name].to(row)
            stack.ranks[slot] = len(parts["down"]) if "down" in parts else 1
            if "gain" in parts:
                stack.gained.add(slot)
            self.listening.to(key)
        # Published in one assignment: a lease sees the stacks before or after, never between.
        self.stacks, self._room = stacks, room

    def _fitting(self, stack: Stack | None, parts: Mapping[str, Tensor], room: int) -> Stack:
        """The stack, or a larger copy where this adapter's rank asks for it."""
        shapes = {name: tuple(tensor.shape) for name, tensor in parts.items()}
        old = stack or Stack({})
        # A module's first adapter makes the tensors; its first DoRA adapter the factors.
        missing = {name: shape for name, shape in shapes.items() if name not in old.tensors}
        new = {name: torch.full((room, *shape), rest(name), device=self.device) for name, shape in missing.items()}
        stack = Stack({**old.tensors, **new}, old.ranks, old.gained) if new else old
        fits = all(a >= b for name, shape in shapes.items() for a, b in zip(stack.tensors[name].shape[1:], shape, strict=True))
        return stack if fits else stack.grown(room, shapes)

    def _take(self, others: Iterable[Part]) -> int:
        resident = [part for part in others if part.slot is not None]
        idle = sorted((part for part in resident if part.pins == 0), key=lambda part: part.used)
        # More than one leaves where a batch needed more than there is room for.
        leaving = idle[: max(0, len(resident) + 1 - self.max_resident)]
        for part in leaving:
            self._vacate(part)
        if len(leaving) > 1:
            self._shrink()
        if self._free:
            self._free.sort(reverse=True)  # low slots first, so that the high ones can be given up
            return self._free.pop()
        self._count += 1
        return self._count - 1
