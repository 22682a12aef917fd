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
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from langadapt.errors import ModelError, did_you_mean
from langadapt.inference.adapter_files import AdapterWeights, Bottleneck, LowRank, Place, Scale
from langadapt.inference.blocks import Block, adapter_blocks, find_linear, linear_shape, plain_weight
from langadapt.inference.reading import Reading
from langadapt.inference.stacks import Key, Route, Stack, gather, products, rest, with_low_rank

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Tensors = dict[Key, dict[str, Tensor]]


UNREAD = re.compile(r"(^|\.)pooler\.dense$")
"""BERT's own pooling layer, which peft's ``all-linear`` adapts too: no vector of ours is read from it, and bodies are loaded without it."""


@dataclass(eq=False)
class _Part:
    """The weights of one adapter: how to read them again (tensors by stack and field), and where they are resident."""

    read: Callable[[], Tensors]
    slot: int | None = None
    pins: int = 0
    used: int = 0
    removed: bool = False


@dataclass(frozen=True, eq=False)
class _Named:
    """What a name stands for."""

    parts: tuple[_Part, ...]
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
        self._bank, self._stacks, self._slots = bank, stacks, slots
        self.readings = readings
        """How each sentence's adapter reads its texts; None where that is as the base does."""

    @contextlib.contextmanager
    def rows(self, indices: Sequence[int]) -> Iterator[None]:
        """Apply the adapters of these sentences to the forward pass inside."""
        chosen = [self._slots[i] for i in indices]
        if not any(slot for slots in chosen for slot in slots):
            yield
            return
        self._bank.local.route = Route(self._stacks, chosen, self._bank.device)
        try:
            yield
        finally:
            self._bank.local.route = None


class AdapterBank:
    """Resident adapters of one base.

    Args:
        body: the transformer without its head.
        max_resident: adapters kept in memory; beyond it the least recently used ones leave and are read again on use.
    """

    def __init__(self, body: PreTrainedModel, max_resident: int = 256) -> None:
        self.body = body
        self.max_resident = max_resident
        self.device = next(iter(body.parameters())).device
        self.local = threading.local()
        self._lock = threading.RLock()
        self._names: dict[str, _Named] = {}
        self._stacks: dict[Key, Stack] = {}
        self._blocks: dict[Place, Block] | None = None
        self._hooked: set[Any] = set()
        self._free: list[int] = []
        self._slots = 1  # slot 0 is "none"
        self._room = 4
        self._clock = 0

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
        weights = [self._fitted(read()) for read in reads]
        with self._lock:
            check(name)
            # Pinned while it is placed: making room for its last part must not drop the first.
            parts = tuple(_Part(partial(self._read, read), pins=1) for read in reads)
            try:
                for part, tensors in zip(parts, weights, strict=True):
                    self._place(part, tensors)
            except BaseException:
                for part in parts:
                    part.pins, part.removed = 0, True
                    self._release(part)
                raise
            for part in parts:
                part.pins = 0
            before = self._names.get(name)
            self._names[name] = _Named(parts, reading, centroid)
            for part in before.parts if before is not None and not before.members else ():
                part.removed = True
                self._release(part)

    def _replaceable(self, name: str) -> None:
        """Refuse a name that a stack uses: its members stay what they were when it was made."""
        users = [stack for stack, one in self._names.items() if name in one.members]
        if users:
            raise ModelError(f"the adapter '{name}' is part of the stack '{users[0]}'", hint="Remove the stack first.")

    def _read(self, read: Callable[[], AdapterWeights]) -> Tensors:
        return self._fitted(read())

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
                self._release(part)

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
        pinned: list[_Part] = []
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
                self._clock += 1
                for part in pinned:
                    part.used = self._clock
                depth = max((len(one.parts) for one in found.values()), default=1)
                slots = {name: tuple(part.slot or 0 for part in one.parts) for name, one in found.items()}
                rows = [slots[name] if name is not None else () for name in names]
                readings = [found[name].reading if name is not None else None for name in names]
                lease = Lease(self, self._stacks, [row + (0,) * (depth - len(row)) for row in rows], readings)
            yield lease
        finally:
            with self._lock:
                for part in pinned:
                    part.pins -= 1
                    self._release(part)

    def _ensure(self, part: _Part) -> None:
        """Read a pinned adapter back in when it has left memory; reading holds no lock."""
        with self._lock:
            if part.slot is not None:
                return
        weights = part.read()
        with self._lock:
            if part.slot is None:
                self._place(part, weights)

    def _release(self, part: _Part) -> None:
        if part.removed and part.pins == 0 and part.slot is not None:
            self._vacate(part)
            self._shrink()

    @torch.inference_mode(False)
    @torch.no_grad()
    def _vacate(self, part: _Part) -> None:
        """Give a slot back, all its rows at rest: the next adapter there may change fewer modules."""
        slot = part.slot
        assert slot is not None
        for stack in self._stacks.values():
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
        used = set(range(1, self._slots)) - set(self._free)
        self._slots = max(used, default=0) + 1
        self._free = [slot for slot in self._free if slot < self._slots]
        room = self._room if self._slots * 2 > self._room else max(4, self._slots)
        self._stacks = {key: stack.shrunk(room) for key, stack in self._stacks.items() if stack.ranks}
        self._room = room

    # placing -------------------------------------------------------------------------------------------------------

    def _fitted(self, weights: AdapterWeights) -> Tensors:
        """Tensors by stack and field, checked against the base.

        Raises:
            ModelError: a module or block that the base does not have, or another shape.
        """
        found: Tensors = {}
        for name, low in weights.low_rank.items():
            if UNREAD.search(name) and not any(UNREAD.search(path) for path, _ in self.body.named_modules()):
                continue
            path, module = find_linear(self.body, name)
            found["low", path] = _low_rank(low, path, module)
        for name, scale in weights.scales.items():
            path, module = find_linear(self.body, name)
            found["in" if scale.on_input else "out", path] = _scale(scale, path, module)
        if weights.bottlenecks and self._blocks is None:
            self._blocks = adapter_blocks(self.body)
        for place, one in weights.bottlenecks.items():
            assert self._blocks is not None
            if place not in self._blocks:
                raise ModelError(f"the adapter is for a base with more layers: this one has no {place[1]} block {place[0]}")
            found["bottleneck", place, one.activation, one.form] = _bottleneck(one, int(self.body.config.hidden_size), place)
        return found

    @torch.inference_mode(False)
    @torch.no_grad()
    def _place(self, part: _Part, tensors: Tensors) -> None:
        """Write an adapter into a slot that nobody reads."""
        part.slot = self._take_slot()
        try:
            self._write(part.slot, tensors)
        except BaseException:  # memory has run out, say: what was written already must not stay
            self._vacate(part)
            raise
        self._clock += 1
        part.used = self._clock

    def _write(self, slot: int, tensors: Tensors) -> None:
        stacks, room = dict(self._stacks), self._room
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
            self._hook(key)
        # Published in one assignment: a lease sees the stacks before or after, never between.
        self._stacks, self._room = stacks, room

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

    def _take_slot(self) -> int:
        resident = [part for one in self._names.values() if not one.members for part in one.parts if part.slot is not None]
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
        self._slots += 1
        return self._slots - 1

    # hooks ---------------------------------------------------------------------------------------------------------

    def _hook(self, key: Key) -> None:
        """Make a module listen for routes, once; without a route a hook costs one attribute lookup."""
        mark = ("out" if key[0] == "low" else key[0], key[1])
        if mark in self._hooked:
            return
        self._hooked.add(mark)
        if key[0] == "bottleneck":
            assert self._blocks is not None
            self._blocks[key[1]].listen(partial(self._bottlenecks, key[1]), partial(self._capture, key[1]))
            return
        module = self.body.get_submodule(key[1])
        if key[0] == "in":
            module.register_forward_pre_hook(partial(self._input, key))
        else:  # before a bottleneck that stands on the same module, whichever came first
            module.register_forward_hook(partial(self._output, key[1]), prepend=True)

    def _route(self) -> Route | None:
        return getattr(self.local, "route", None)

    def _output(self, path: str, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        """A linear layer's output with what the sentences' adapters change, level by level."""
        route = self._route()
        if route is None:
            return None
        low, scales = route.wanted(("low", path)), route.wanted(("out", path))
        if low is None and scales is None:
            return None
        for level in range(len(route.levels)):
            if low is not None:
                output = with_low_rank(low, module, args[0], output, route, level)
            if scales is not None:
                output = output * gather(scales.tensors["vector"], route, level).to(output.dtype)
        return output

    def _input(self, key: Key, module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        route = self._route()
        scales = route.wanted(key) if route else None
        if route is None or scales is None:
            return None
        x = args[0]
        for level in range(len(route.levels)):
            x = x * gather(scales.tensors["vector"], route, level).to(x.dtype)
        return (x, *args[1:])

    def _capture(self, place: Place, x: Tensor) -> None:
        route = self._route()
        if route is not None:
            route.inputs[place] = x

    def _bottlenecks(self, place: Place, h: Tensor, x: Tensor | None, norm: nn.Module | None) -> Tensor:
        """A block's output `h` (B, T, d) with what the sentences' bottlenecks add; `x` is the block's input."""
        route = self._route()
        if route is None:
            return h
        if x is None:
            x = route.inputs.pop(place)
        keys = [key for key in route.stacks if key[:2] == ("bottleneck", place)]
        stacks = [(key, stack) for key in keys if (stack := route.wanted(key)) is not None]
        for level in range(len(route.levels)):
            for key, stack in stacks:
                if stack.rank_of(route.levels[level]):
                    added = products(stack, _read_at(key[3], h, x, norm), route, level, activation(key[2]))
                    h = h if added is None else h + added.to(h.dtype)
        return h


def _read_at(form: str, h: Tensor, x: Tensor, norm: nn.Module | None) -> Tensor:
    if form == "parallel":
        return x
    if form == "before":
        return h
    return norm(h + x) if norm is not None else h + x  # type: ignore[no-any-return]


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """An activation by the name that the library `adapters` saves.

    Raises:
        ModelError: an unknown name.
    """
    from transformers.activations import ACT2FN

    if name == "leakyrelu":
        return F.leaky_relu
    if name not in ACT2FN:
        raise ModelError(f"the adapter's activation '{name}' is not known")
    return ACT2FN[name]  # type: ignore[no-any-return]


def _low_rank(low: LowRank, path: str, module: nn.Module) -> dict[str, Tensor]:
    into, out = linear_shape(module)
    rank = low.down.shape[0]
    _check_shapes(path, (low.down, (rank, into)), (low.up, (out, rank)))
    if low.magnitude is None:
        return {"down": low.down, "up": low.up.T}
    _check_shapes(path, (low.magnitude.flatten(), (out,)))
    weight = plain_weight(module)
    length = torch.linalg.norm(weight + (low.up @ low.down).to(weight), dim=1).cpu()
    gain = low.magnitude.flatten() / length
    return {"down": low.down, "up": (low.up * gain[:, None]).T, "gain": gain}


def _scale(scale: Scale, path: str, module: nn.Module) -> dict[str, Tensor]:
    into, out = linear_shape(module)
    _check_shapes(path, (scale.vector, (into if scale.on_input else out,)))
    return {"vector": scale.vector}


def _bottleneck(one: Bottleneck, width: int, place: Place) -> dict[str, Tensor]:
    rank = one.down.shape[0]
    wanted = ((one.down, (rank, width)), (one.down_bias, (rank,)), (one.up, (width, rank)), (one.up_bias, (width,)))
    _check_shapes(f"the {place[1]} block {place[0]}", *wanted)
    activation(one.activation)
    return {"down": one.down, "down_bias": one.down_bias, "up": one.up.T, "up_bias": one.up_bias}


def _check_shapes(where: str, *tensors: tuple[Tensor, tuple[int, ...]]) -> None:
    """Compare tensors with the shapes that the base asks for.

    Raises:
        ModelError: one differs; left alone it would fail every batch it meets.
    """
    for tensor, shape in tensors:
        if tuple(tensor.shape) != shape:
            raise ModelError(
                f"the adapter is for another base: at {where} it has the shape {tuple(tensor.shape)}, the base asks for {shape}",
                hint="Load the base it was trained on.",
            )
