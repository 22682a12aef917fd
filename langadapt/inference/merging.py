"""Folding an adapter into its base: one plain checkpoint that any library loads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from langadapt.artifacts import adapter as adapters
from langadapt.artifacts import encoder as encoders
from langadapt.artifacts.encoder import LoadedEncoder
from langadapt.errors import ModelError
from langadapt.inference.adapter_files import AdapterWeights, LowRank, Scale, read_adapter
from langadapt.inference.blocks import find_linear, linear_shape

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def servable(folder: Path) -> bool:
    """True when the bank serves every part of a trained adapter."""
    roles = adapters.load(folder).roles
    try:
        for part in [folder / role for role in roles] or [folder]:
            read_adapter(part)
    except ModelError:
        return False
    return True


def merged(folder: Path) -> LoadedEncoder:
    """A trained adapter and its base as one encoder.

    An adapter that was trained on a quantised base goes into the same weights unquantised: merged into 4 bits it would be rounded
    away with them (cosines down to 0.86 were seen).

    Raises:
        ModelError: the method has no merged form, or there is a module for each of two roles.
    """
    record = adapters.load(folder)
    if record.roles:
        raise ModelError(
            f"there is a module for each of {', '.join(record.roles)}, so there is no one merged encoder",
            where=str(folder),
            hint="Release it with the exporter 'adapter'.",
        )
    loaded = encoders.load(adapters.base_folder(folder), mlm_head=False)
    loaded.settings, _ = encoders.read_settings(folder)
    merge(loaded.model, read_adapter(folder))
    return loaded


@torch.no_grad()
def merge(model: PreTrainedModel, weights: AdapterWeights) -> None:
    """Fold an adapter into a model's weights, in place.

    Raises:
        ModelError: a bottleneck, which has a non-linearity inside; a quantised base, where merging loses what was learnt.
    """
    if weights.bottlenecks:
        raise ModelError(
            "bottleneck adapters cannot be merged: there is a non-linearity between their two products",
            hint="Release the adapter alone (exporter 'adapter'), or train LoRA.",
        )
    for name, low in weights.low_rank.items():
        _, module = find_linear(model.base_model, name)
        _set(module, _with_low_rank(_plain(module, name), low))
    for name, scale in weights.scales.items():
        _, module = find_linear(model.base_model, name)
        _set(module, _with_scale(_plain(module, name), scale))
        if not scale.on_input and isinstance(module.bias, Tensor):
            module.bias.mul_(scale.vector.to(module.bias))


def _plain(module: nn.Module, name: str) -> Tensor:
    """The module's weight as (out, in).

    Raises:
        ModelError: it is quantised.
    """
    weight = module.weight
    assert isinstance(weight, Tensor)
    into, out = linear_shape(module)
    if not weight.is_floating_point() or weight.numel() != into * out:
        raise ModelError(
            f"'{name}' is quantised, and merging into quantised weights rounds away what the adapter learnt",
            hint="Merge into the unquantised base.",
        )
    return weight if hasattr(module, "in_features") else weight.T


def _set(module: nn.Module, weight: Tensor) -> None:
    assert isinstance(module.weight, Tensor)
    module.weight.copy_(weight if hasattr(module, "in_features") else weight.T)


def _with_low_rank(weight: Tensor, low: LowRank) -> Tensor:
    changed = weight + (low.up @ low.down).to(weight)
    if low.magnitude is None:
        return changed
    gain: Tensor = low.magnitude.flatten().to(weight) / torch.linalg.norm(changed, dim=1)
    return changed * gain[:, None]


def _with_scale(weight: Tensor, scale: Scale) -> Tensor:
    vector = scale.vector.to(weight)
    return weight * (vector[None] if scale.on_input else vector[:, None])
