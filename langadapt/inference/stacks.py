"""Adapters of many names at one module, as tensors with a row a slot, and the products of a batch with them.

A sentence's row of a stack is gathered and multiplied in a batched product as wide as the largest rank *in the batch*: adapters
that only stay in memory cost no time.  From rank :data:`WIDE` on, copying every sentence its weights costs more than the arithmetic,
and each adapter's sentences are multiplied together instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from langadapt.inference.adapter_files import Place

Key = tuple[Any, ...]
"""What a stack belongs to: a method and a module or block."""

WIDE = 96
"""Rank from which sentences are sorted by adapter; below it the batched product is faster (measured on one core, d = 384)."""

RANKED = ("down", "down_bias", "up")
"""Tensors whose first dimension, after the slots, is the rank."""


def rest(name: str) -> float:
    """The value that changes nothing: one for factors, zero for what is added."""
    return 1.0 if name in ("gain", "vector") else 0.0


@dataclass
class Stack:
    """Tensors of one module, one row a slot, padded to the largest rank."""

    tensors: dict[str, Tensor]
    """``down`` (slots, r, in), ``down_bias`` (slots, r), ``up`` (slots, r, out), ``up_bias``, ``gain`` or ``vector`` (slots, n)."""
    ranks: dict[int, int] = field(default_factory=dict)
    """Rank of each slot in use; 1 for vectors."""
    gained: set[int] = field(default_factory=set)
    """Slots whose adapter has a ``gain``."""

    def rank_of(self, slots: Iterable[int]) -> int:
        """The largest rank among these slots, 0 where none has anything here."""
        return max((self.ranks.get(slot, 0) for slot in slots), default=0)

    def grown(self, slots: int, shapes: Mapping[str, tuple[int, ...]]) -> Stack:
        """A larger copy; a stack in use stays as it is."""
        tensors = {}
        for name, old in self.tensors.items():
            shape = [slots, *(max(a, b) for a, b in zip(old.shape[1:], shapes.get(name, old.shape[1:]), strict=True))]
            new = torch.full(shape, rest(name), dtype=old.dtype, device=old.device)
            new[tuple(slice(0, n) for n in old.shape)] = old
            tensors[name] = new
        return Stack(tensors, dict(self.ranks), set(self.gained))

    def shrunk(self, slots: int) -> Stack:
        """A copy with `slots` rows, the largest rank of its members where that is at most half of what it has, and no idle factors."""
        rank = max(self.ranks.values())
        now = self.tensors["down"].shape[1] if "down" in self.tensors else 1
        rank = now if 2 * rank > now else rank
        kept = {name: tensor for name, tensor in self.tensors.items() if name != "gain" or self.gained}
        same = rank == now and slots == len(next(iter(kept.values()))) and len(kept) == len(self.tensors)
        return self if same else self._cut(kept, slots, rank)

    def _cut(self, kept: dict[str, Tensor], slots: int, rank: int) -> Stack:
        cut = {name: (tensor[:slots, :rank] if name in RANKED else tensor[:slots]).clone() for name, tensor in kept.items()}
        return Stack(cut, dict(self.ranks), set(self.gained))


@dataclass
class Route:
    """What one forward pass of one thread applies."""

    stacks: Mapping[Key, Stack]
    chosen: list[tuple[int, ...]]
    """For every sentence a slot a level, 0 for none."""
    device: torch.device
    inputs: dict[Place, Tensor] = field(default_factory=dict)
    """Block inputs of pre-norm models, captured on the way."""

    def __post_init__(self) -> None:
        self.slots = torch.tensor(self.chosen, device=self.device)
        """(B, depth)"""
        self.single = self.chosen[0] if len(set(self.chosen)) == 1 else None
        """The slots, when all sentences have the same."""
        self.levels = [frozenset(column) - {0} for column in zip(*self.chosen, strict=True)]
        """The slots at work, by level."""
        self._rows: dict[int, list[tuple[int, Tensor]]] = {}

    def wanted(self, key: Key) -> Stack | None:
        """The stack at a module, when a sentence of this batch has a part in it."""
        stack = self.stacks.get(key)
        return stack if stack is not None and any(map(stack.rank_of, self.levels)) else None

    def rows(self, level: int) -> list[tuple[int, Tensor]]:
        """Each slot with the places of its sentences, (n,) int64."""
        if level not in self._rows:
            places: dict[int, list[int]] = {}
            for row, slots in enumerate(self.chosen):
                places.setdefault(slots[level], []).append(row)
            self._rows[level] = [(slot, torch.tensor(rows, device=self.device)) for slot, rows in places.items() if slot]
        return self._rows[level]


def with_low_rank(stack: Stack, module: nn.Module, x: Tensor, output: Tensor, route: Route, level: int) -> Tensor:
    """``output + up @ down @ x``; DoRA scales the base's product first, not the bias."""
    if not stack.gained.isdisjoint(route.levels[level]):
        bias = getattr(module, "bias", None)
        more = (gather(stack.tensors["gain"], route, level) - 1).to(output.dtype)
        output = output + (output if bias is None else output - bias) * more  # a gain of one is exact so
    added = products(stack, x, route, level)
    return output if added is None else output + added.to(output.dtype)


def products(stack: Stack, x: Tensor, route: Route, level: int, between: Callable[[Tensor], Tensor] | None = None) -> Tensor | None:
    """``up.T @ between(down @ x + down_bias) + up_bias`` with each sentence's own tensors.

    Args:
        x: (B, T, in).
        between: the activation; None for none.

    Returns:
        (B, T, out), or None where no sentence has anything here.
    """
    rank = stack.rank_of(route.levels[level])
    if not rank:
        return None
    x = x.to(stack.tensors["down"].dtype)
    if route.single is not None:
        return _one(stack, x, route.single[level], between)
    if rank >= WIDE:
        return _sorted(stack, x, route.rows(level), between)
    return _batched(stack, x, route.slots[:, level], rank, between)


def _one(stack: Stack, x: Tensor, slot: int, between: Callable[[Tensor], Tensor] | None) -> Tensor:
    """The same slot for all: plain products of its own rank."""
    parts, rank = stack.tensors, stack.ranks[slot]
    biased = "down_bias" in parts
    inner = F.linear(x, parts["down"][slot, :rank], parts["down_bias"][slot, :rank] if biased else None)
    inner = between(inner) if between else inner
    return F.linear(inner, parts["up"][slot, :rank].T, parts["up_bias"][slot] if biased else None)


def _sorted(stack: Stack, x: Tensor, rows: Sequence[tuple[int, Tensor]], between: Callable[[Tensor], Tensor] | None) -> Tensor:
    """Each slot's sentences together; the others get zeros."""
    found = torch.zeros((*x.shape[:-1], stack.tensors["up"].shape[-1]), dtype=x.dtype, device=x.device)
    for slot, places in rows:
        if slot in stack.ranks:
            found.index_copy_(0, places, _one(stack, x.index_select(0, places), slot, between))
    return found


def _batched(stack: Stack, x: Tensor, slots: Tensor, rank: int, between: Callable[[Tensor], Tensor] | None) -> Tensor:
    """Every sentence with a copy of its weights, padded to one rank."""
    parts = stack.tensors
    down = parts["down"][:, :rank].index_select(0, slots).transpose(1, 2)
    up = parts["up"][:, :rank].index_select(0, slots)
    if "down_bias" not in parts:
        inner = torch.bmm(x, down)
        return torch.bmm(between(inner) if between else inner, up)
    inner = torch.baddbmm(parts["down_bias"][:, :rank].index_select(0, slots).unsqueeze(1), x, down)
    return torch.baddbmm(parts["up_bias"].index_select(0, slots).unsqueeze(1), between(inner) if between else inner, up)


def gather(vectors: Tensor, route: Route, level: int) -> Tensor:
    """Each sentence's vector, (B, 1, d)."""
    if route.single is not None:
        return vectors[route.single[level]]
    return vectors.index_select(0, route.slots[:, level]).unsqueeze(1)
