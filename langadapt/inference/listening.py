"""Modules of a base that listen for the adapters of a forward pass's sentences."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from langadapt.inference.adapter_files import Place
from langadapt.inference.blocks import Block, adapter_blocks
from langadapt.inference.fitting import activation
from langadapt.inference.stacks import Key, Route, gather, products, with_low_rank

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Listening:
    """Hooks on a body, put where an adapter needs one and never taken away; without a route they do nothing.

    Args:
        body: the transformer without its head.
    """

    def __init__(self, body: PreTrainedModel) -> None:
        self.body = body
        self.local = threading.local()
        """Holds the route of the forward pass that this thread is in."""
        self._blocks: dict[Place, Block] | None = None
        self._hooked: set[Any] = set()

    def blocks(self) -> dict[Place, Block]:
        """Where bottlenecks stand in this architecture, found when the first is added."""
        if self._blocks is None:
            self._blocks = adapter_blocks(self.body)
        return self._blocks

    def to(self, key: Key) -> None:
        """Make a module listen for routes, once; without a route a hook costs one attribute lookup."""
        mark = ("out" if key[0] == "low" else key[0], key[1])
        if mark in self._hooked:
            return
        self._hooked.add(mark)
        if key[0] == "bottleneck":
            self.blocks()[key[1]].listen(partial(self._bottlenecks, key[1]), partial(self._capture, key[1]))
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
