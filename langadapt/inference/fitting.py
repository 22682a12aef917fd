"""Weights of an adapter brought into the form that a bank stacks, checked against the base."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from langadapt.errors import ModelError
from langadapt.inference.adapter_files import AdapterWeights, Bottleneck, LowRank, Place, Scale
from langadapt.inference.blocks import Block, find_linear, linear_shape, plain_weight
from langadapt.inference.stacks import Key

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Tensors = dict[Key, dict[str, Tensor]]

UNREAD = re.compile(r"(^|\.)pooler\.dense$")
"""BERT's own pooling layer, which peft's ``all-linear`` adapts too: no vector of ours is read from it, and bodies are loaded without it."""


def fitted(weights: AdapterWeights, body: PreTrainedModel, blocks: Callable[[], Mapping[Place, Block]]) -> Tensors:
    """Tensors by stack and field, checked against the base.

    Raises:
        ModelError: a module or block that the base does not have, or another shape.
    """
    found: Tensors = {}
    for name, low in weights.low_rank.items():
        if UNREAD.search(name) and not any(UNREAD.search(path) for path, _ in body.named_modules()):
            continue
        path, module = find_linear(body, name)
        found["low", path] = _low_rank(low, path, module)
    for name, scale in weights.scales.items():
        path, module = find_linear(body, name)
        found["in" if scale.on_input else "out", path] = _scale(scale, path, module)
    places = blocks() if weights.bottlenecks else {}
    for place, one in weights.bottlenecks.items():
        if place not in places:
            raise ModelError(f"the adapter is for a base with more layers: this one has no {place[1]} block {place[0]}")
        found["bottleneck", place, one.activation, one.form] = _bottleneck(one, int(body.config.hidden_size), place)
    return found


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
