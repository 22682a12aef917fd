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
from langadapt.inference.adapter_files import AdapterWeights, LowRank, Scale, parts_of, read_adapter
from langadapt.inference.blocks import adapter_blocks, find_linear, linear_shape
from langadapt.inference.reading import adapter_settings

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def servable(folder: Path, base: Path | None = None) -> bool:
    """True when the bank serves every part of a trained adapter on its base's architecture.

    Args:
        folder: the adapter's.
        base: its base's; None takes the one beside it in a store.
    """
    roles = adapters.load(folder).roles
    try:
        found = [read_adapter(part) for one in [folder / role for role in roles] or [folder] for part in parts_of(one)]
        if any(weights.bottlenecks for weights in found):
            adapter_blocks(_outline(base or adapters.base_folder(folder)))
    except ModelError:
        return False
    return True


def _outline(base: Path) -> PreTrainedModel:
    """The modules of a base without its weights."""
    from transformers import AutoConfig, AutoModel

    with torch.device("meta"):
        return AutoModel.from_config(AutoConfig.from_pretrained(str(base), trust_remote_code=False))  # type: ignore[no-any-return]


def merged(folder: Path, base: Path | None = None) -> LoadedEncoder:
    """A trained adapter and its base (None: the one beside it in a store) as one encoder.

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
    weights = [read_adapter(part) for part in parts_of(folder)]
    loaded = encoders.load(base or adapters.base_folder(folder), mlm_head=False)
    loaded.settings = adapter_settings(folder)
    for one in weights:
        merge(loaded.model, one)
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
