"""The stack of transformer layers of a body: finding it, taking some of it, starting anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from langadapt.errors import ModelError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


def layer_stack(model: PreTrainedModel) -> nn.ModuleList:
    """The list of transformer layers of a body.

    Raises:
        ModelError: the architecture shares its layers or keeps them where we do not look.
    """
    from torch.nn import ModuleList

    count = model.config.num_hidden_layers
    stacks = [module for module in model.base_model.modules() if isinstance(module, ModuleList) and len(module) == count]
    if not stacks:
        raise ModelError(f"the layers of '{model.config.model_type}' cannot be told apart")
    return stacks[0]


def keep_layers(model: PreTrainedModel, count: int) -> list[int]:
    """Keep `count` layers of a body in place, evenly spaced from the first to the last; returns which.

    A smaller encoder from a teacher's layers starts better than from random ones (Sanh et al. 2019, arXiv:1910.01108; Sajjad et al. 2023,
    arXiv:2004.03844).

    Raises:
        ModelError: more layers are asked for than there are, or the layers of this architecture take turns (ModernBERT's are local
            and global ones), so that leaving some out would change what the others do.
    """
    from torch.nn import ModuleList

    stack = layer_stack(model)
    if count > len(stack):
        raise ModelError(f"{count} layers are asked for, but the encoder has {len(stack)}")
    if count == len(stack):
        return list(range(count))
    if getattr(model.config, "layer_types", None) or hasattr(model.config, "global_attn_every_n_layers"):
        raise ModelError(f"the layers of '{model.config.model_type}' take turns: none can be left out")
    chosen = [int(i) for i in np.linspace(0, len(stack) - 1, count).round()] if count > 1 else [0]
    kept = ModuleList([stack[i] for i in chosen])
    for parent in model.modules():
        for name, child in list(parent.named_children()):
            if child is stack:
                setattr(parent, name, kept)
    for config in {id(c): c for c in (model.config, model.base_model.config)}.values():
        config.num_hidden_layers = count
    for number, layer in enumerate(kept):  # decoders number their layers for a cache
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                places: Any = module
                places.layer_idx = number
    return chosen


def random_weights(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """A model of the same class and configuration, initialised as its authors do, from one seed."""
    torch.manual_seed(seed)
    kind: Any = type(model)
    try:
        return kind(model.config, add_pooling_layer=False)  # type: ignore[no-any-return]
    except TypeError:
        return kind(model.config)  # type: ignore[no-any-return]
