"""The adapter bank: many adapters resident on one base, chosen per sentence, in one forward pass.

Adapters of all names are stacked per module, ``(slots, r, d)``; a batch carries one slot per sentence.  A module then does a gather
and two batched products, however many adapters meet in the batch (a plain product when they are all the same), as in S-LoRA (Sheng
et al. 2023, arXiv:2311.03285) without its kernels: an encoder has no decode loop that would need them.  Slot 0 is all zeros, and
zeros are exact: a sentence without an adapter gets the base's own vector.

Threads share a bank.  What a forward pass uses is pinned for its time; adding writes a slot nobody reads, growing makes new stacks
beside those in use, removing waits for the last reader.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from langadapt.errors import ModelError, did_you_mean
from langadapt.inference.adapter_files import AdapterWeights, Bottleneck, LowRank, Place, Scale
from langadapt.inference.blocks import Block, adapter_blocks, find_linear, linear_shape, plain_weight

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Key = tuple[Any, ...]
"""What a stack belongs to: a method and a module or block."""

Tensors = dict[Key, dict[str, Tensor]]


@dataclass
class _Entry:
    """One adapter by name: how to read it again (tensors by stack and field), and where it is resident."""

    read: Callable[[], Tensors]
    slot: int | None = None
    pins: int = 0
    used: int = 0
    removed: bool = False


@dataclass
class _Stack:
    """Tensors of one module, one row a slot, padded with zeros to the largest rank; `members` are the slots in use."""

    tensors: dict[str, Tensor]
    members: set[int] = field(default_factory=set)

    def grown(self, slots: int, shapes: Mapping[str, tuple[int, ...]]) -> _Stack:
        """A larger copy; a stack in use stays as it is."""
        tensors = {}
        for name, old in self.tensors.items():
            shape = [slots, *(max(a, b) for a, b in zip(old.shape[1:], shapes.get(name, old.shape[1:]), strict=True))]
            new = torch.full(shape, _rest(name), dtype=old.dtype, device=old.device)
            new[tuple(slice(0, n) for n in old.shape)] = old
            tensors[name] = new
        return _Stack(tensors, set(self.members))


def _rest(name: str) -> float:
    """The value that changes nothing: one for factors, zero for what is added."""
    return 1.0 if name in ("gain", "vector") else 0.0


@dataclass
class _Route:
    """What one forward pass of one thread applies."""

    stacks: Mapping[Key, _Stack]
    slots: Tensor
    """(B, depth) slot of every sentence, 0 for none."""
    single: tuple[int, ...] | None
    """The slots, when all sentences have the same."""
    active: frozenset[int]
    inputs: dict[Place, Tensor] = field(default_factory=dict)
    """Block inputs of pre-norm models, captured on the way."""

    def wanted(self, key: Key) -> _Stack | None:
        stack = self.stacks.get(key)
        return stack if stack is not None and not self.active.isdisjoint(stack.members) else None


class Lease:
    """The slots of a call's sentences, pinned until the call ends."""

    def __init__(self, bank: AdapterBank, stacks: Mapping[Key, _Stack], slots: list[tuple[int, ...]]) -> None:
        self._bank, self._stacks, self._slots = bank, stacks, slots

    @contextlib.contextmanager
    def rows(self, indices: Sequence[int]) -> Iterator[None]:
        """Apply the adapters of these sentences to the forward pass inside."""
        chosen = [self._slots[i] for i in indices]
        active = frozenset(slot for slots in chosen for slot in slots if slot)
        if not active:
            yield
            return
        single = chosen[0] if len(set(chosen)) == 1 else None
        slots = torch.tensor(chosen, device=self._bank.device)
        self._bank.local.route = _Route(self._stacks, slots, single, active)
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
        self._entries: dict[str, _Entry] = {}
        self._compositions: dict[str, tuple[str, ...]] = {}
        self._stacks: dict[Key, _Stack] = {}
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
            return [*self._entries, *self._compositions]

    def resident(self) -> list[str]:
        """Adapters that are in memory."""
        with self._lock:
            return [name for name, entry in self._entries.items() if entry.slot is not None]

    def add(self, name: str, read: Callable[[], AdapterWeights]) -> None:
        """Make an adapter resident under a name; `read` brings it back after it left memory.

        Raises:
            ModelError: the name is taken, or the weights do not fit this base.
        """
        with self._lock:
            self._new_name(name)
        weights = self._fitted(read())
        with self._lock:
            self._new_name(name)
            entry = _Entry(lambda: self._fitted(read()))
            self._place(entry, weights)
            self._entries[name] = entry

    def stack(self, name: str, members: Sequence[str]) -> None:
        """Name a sequence of adapters applied one after another (Pfeiffer et al. 2020, arXiv:2005.00052)."""
        with self._lock:
            self._new_name(name)
            self._known([*members])
            if not members:
                raise ModelError(f"the stack '{name}' has no members")
            self._compositions[name] = tuple(one for member in members for one in self._compositions.get(member, (member,)))

    def remove(self, name: str) -> None:
        """Forget an adapter or a stack; forward passes that use it end first, undisturbed.

        Raises:
            ModelError: there is none of that name, or a stack still names it.
        """
        with self._lock:
            self._known([name])
            if name in self._compositions:
                del self._compositions[name]
                return
            users = [stack for stack, members in self._compositions.items() if name in members]
            if users:
                raise ModelError(f"the adapter '{name}' is part of the stack '{users[0]}'", hint="Remove the stack first.")
            entry = self._entries.pop(name)
            entry.removed = True
            self._release(entry)

    def _new_name(self, name: str) -> None:
        if not name:
            raise ModelError("an adapter needs a name", hint="The empty name stands for the base alone.")
        if name in self._entries or name in self._compositions:
            raise ModelError(f"there is an adapter '{name}' already", hint="Remove it first, or choose another name.")

    def _known(self, names: Sequence[str]) -> None:
        unknown = [name for name in dict.fromkeys(names) if name not in self._entries and name not in self._compositions]
        if unknown:
            have = [*self._entries, *self._compositions]
            hint = did_you_mean(unknown[0], have) if have else "Add it with add_adapter() first."
            raise ModelError(f"no adapter is called {', '.join(repr(name) for name in unknown)}", hint=hint)

    # use -----------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def lease(self, names: Sequence[str | None]) -> Iterator[Lease]:
        """Pin the adapters of these sentences (None for the base alone) until the block ends.

        Raises:
            ModelError: unknown names, all of them listed; nothing was done then.
        """
        pinned: list[_Entry] = []
        try:
            with self._lock:
                self._known([name for name in names if name is not None])
                parts = {name: self._compositions.get(name, (name,)) for name in dict.fromkeys(names) if name is not None}
                # Pinned before anything is read: an adapter that is removed meanwhile stays for this call.
                entries = {part: self._entries[part] for members in parts.values() for part in members}
                for entry in entries.values():
                    entry.pins += 1
                    pinned.append(entry)
            for entry in entries.values():
                self._ensure(entry)
            with self._lock:
                self._clock += 1
                for entry in entries.values():
                    entry.used = self._clock
                slots = {part: entry.slot or 0 for part, entry in entries.items()}
                depth = max((len(members) for members in parts.values()), default=1)
                rows = {name: tuple(slots[part] for part in members) + (0,) * (depth - len(members)) for name, members in parts.items()}
                none = (0,) * depth
                lease = Lease(self, self._stacks, [rows[name] if name is not None else none for name in names])
            yield lease
        finally:
            with self._lock:
                for entry in pinned:
                    entry.pins -= 1
                    self._release(entry)

    def _ensure(self, entry: _Entry) -> None:
        """Read a pinned adapter back in when it has left memory; reading holds no lock."""
        with self._lock:
            if entry.slot is not None:
                return
        weights = entry.read()
        with self._lock:
            if entry.slot is None:
                self._place(entry, weights)

    def _release(self, entry: _Entry) -> None:
        if entry.removed and entry.pins == 0 and entry.slot is not None:
            self._vacate(entry)

    @torch.inference_mode(False)
    @torch.no_grad()
    def _vacate(self, entry: _Entry) -> None:
        """Give a slot back, all its rows at rest: the next adapter there may change fewer modules."""
        slot = entry.slot
        assert slot is not None
        for stack in self._stacks.values():
            if slot in stack.members:
                stack.members.discard(slot)
                for name, stacked in stack.tensors.items():
                    stacked[slot].fill_(_rest(name))
        self._free.append(slot)
        entry.slot = None

    # placing -------------------------------------------------------------------------------------------------------

    def _fitted(self, weights: AdapterWeights) -> Tensors:
        """Tensors by stack and field, checked against the base.

        Raises:
            ModelError: a module or block that the base does not have, or another shape.
        """
        found: Tensors = {}
        for name, low in weights.low_rank.items():
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
    def _place(self, entry: _Entry, tensors: Tensors) -> None:
        """Write an adapter into a slot that nobody reads."""
        entry.slot = self._take_slot()
        try:
            self._write(entry.slot, tensors)
        except BaseException:  # memory has run out, say: what was written already must not stay
            self._vacate(entry)
            raise
        self._clock += 1
        entry.used = self._clock

    def _write(self, slot: int, tensors: Tensors) -> None:
        stacks, room = dict(self._stacks), self._room
        if slot >= room:  # every stack has a row for every slot: a batch gathers all its slots everywhere
            room *= 2
            stacks = {key: stack.grown(room, {}) for key, stack in stacks.items()}
        for key, parts in tensors.items():
            stacks[key] = self._fitting(stacks.get(key), parts, room)
            for name, stacked in stacks[key].tensors.items():
                row = stacked[slot]
                row.fill_(_rest(name))
                if name in parts:
                    row[tuple(slice(0, n) for n in parts[name].shape)] = parts[name].to(row)
            stacks[key].members.add(slot)
            self._hook(key)
        # Published in one assignment: a lease sees the stacks before or after, never between.
        self._stacks, self._room = stacks, room

    def _fitting(self, stack: _Stack | None, parts: Mapping[str, Tensor], room: int) -> _Stack:
        """The stack, or a larger copy where this adapter's rank asks for it."""
        shapes = {name: tuple(tensor.shape) for name, tensor in parts.items()}
        old = stack or _Stack({})
        # A module's first adapter makes the tensors; its first DoRA adapter the factors.
        missing = {name: shape for name, shape in shapes.items() if name not in old.tensors}
        new = {name: torch.full((room, *shape), _rest(name), device=self.device) for name, shape in missing.items()}
        stack = _Stack({**old.tensors, **new}, old.members) if new else old
        fits = all(a >= b for name, shape in shapes.items() for a, b in zip(stack.tensors[name].shape[1:], shape, strict=True))
        return stack if fits else stack.grown(room, shapes)

    def _take_slot(self) -> int:
        resident = [entry for entry in self._entries.values() if entry.slot is not None]
        idle = sorted((entry for entry in resident if entry.pins == 0), key=lambda entry: entry.used)
        # More than one leaves where a batch needed more than there is room for.
        for entry in idle[: max(0, len(resident) + 1 - self.max_resident)]:
            self._vacate(entry)
        if self._free:
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

    def _route(self) -> _Route | None:
        return getattr(self.local, "route", None)

    def _output(self, path: str, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        """A linear layer's output with what the sentences' adapters change, level by level."""
        route = self._route()
        if route is None:
            return None
        low, scales = route.wanted(("low", path)), route.wanted(("out", path))
        if low is None and scales is None:
            return None
        for level in range(route.slots.shape[1]):
            if low is not None:
                output = _with_low_rank(low.tensors, module, args[0], output, route, level)
            if scales is not None:
                output = output * _gather(scales.tensors["vector"], route, level).to(output.dtype)
        return output

    def _input(self, key: Key, module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        route = self._route()
        scales = route.wanted(key) if route else None
        if route is None or scales is None:
            return None
        x = args[0]
        for level in range(route.slots.shape[1]):
            x = x * _gather(scales.tensors["vector"], route, level).to(x.dtype)
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
        stacks = [(key, stack) for key, stack in route.stacks.items() if key[:2] == ("bottleneck", place)]
        for level in range(route.slots.shape[1]):
            for key, stack in stacks:
                if route.active.isdisjoint(stack.members):
                    continue
                u = _read_at(key[3], h, x, norm)
                inner = activation(key[2])(_product(u, stack.tensors["down"], stack.tensors["down_bias"], route, level))
                h = h + _product(inner, stack.tensors["up"], stack.tensors["up_bias"], route, level).to(h.dtype)
        return h


def _with_low_rank(tensors: Mapping[str, Tensor], module: nn.Module, x: Tensor, output: Tensor, route: _Route, level: int) -> Tensor:
    """``output + up @ down @ x``; DoRA scales the base's product first, not the bias."""
    if "gain" in tensors:
        bias = getattr(module, "bias", None)
        more = (_gather(tensors["gain"], route, level) - 1).to(output.dtype)
        output = output + (output if bias is None else output - bias) * more  # a gain of one is exact so
    inner = _product(x, tensors["down"], None, route, level)
    return output + _product(inner, tensors["up"], None, route, level).to(output.dtype)


def _read_at(form: str, h: Tensor, x: Tensor, norm: nn.Module | None) -> Tensor:
    if form == "parallel":
        return x
    if form == "before":
        return h
    return norm(h + x) if norm is not None else h + x  # type: ignore[no-any-return]


def _product(x: Tensor, weights: Tensor, biases: Tensor | None, route: _Route, level: int) -> Tensor:
    """``x @ W.T + b`` with each sentence's own W: x (B, T, in), weights (slots, out, in) → (B, T, out)."""
    if route.single is not None:
        slot = route.single[level]
        return F.linear(x.to(weights.dtype), weights[slot], None if biases is None else biases[slot])
    slots = route.slots[:, level]
    chosen = weights.index_select(0, slots).transpose(1, 2)
    if biases is None:
        return torch.bmm(x.to(weights.dtype), chosen)
    return torch.baddbmm(biases.index_select(0, slots).unsqueeze(1), x.to(weights.dtype), chosen)


def _gather(vectors: Tensor, route: _Route, level: int) -> Tensor:
    """Each sentence's vector, (B, 1, d)."""
    if route.single is not None:
        return vectors[route.single[level]]
    return vectors.index_select(0, route.slots[:, level]).unsqueeze(1)


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
        return {"down": low.down, "up": low.up}
    _check_shapes(path, (low.magnitude.flatten(), (out,)))
    weight = plain_weight(module)
    length = torch.linalg.norm(weight + (low.up @ low.down).to(weight), dim=1).cpu()
    gain = low.magnitude.flatten() / length
    return {"down": low.down, "up": low.up * gain[:, None], "gain": gain}


def _scale(scale: Scale, path: str, module: nn.Module) -> dict[str, Tensor]:
    into, out = linear_shape(module)
    _check_shapes(path, (scale.vector, (into if scale.on_input else out,)))
    return {"vector": scale.vector}


def _bottleneck(one: Bottleneck, width: int, place: Place) -> dict[str, Tensor]:
    rank = one.down.shape[0]
    wanted = ((one.down, (rank, width)), (one.down_bias, (rank,)), (one.up, (width, rank)), (one.up_bias, (width,)))
    _check_shapes(f"the {place[1]} block {place[0]}", *wanted)
    activation(one.activation)
    return {"down": one.down, "down_bias": one.down_bias, "up": one.up, "up_bias": one.up_bias}


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
