"""Where adapters meet a transformer: its linear layers by name, and the ends of its blocks.

A bottleneck needs a block's output before the residual is added, the block's input, and the norm that follows, if one does.
BERT and its kin have all three in one small module; other models are listened to in two places.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from langadapt.errors import ModelError, did_you_mean
from langadapt.inference.adapter_files import Place

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Change = Callable[[Tensor, Tensor | None, nn.Module | None], Tensor]
"""(block output (B, T, d), block input or None if captured, following norm or None) → changed block output."""


@dataclass(frozen=True)
class Block:
    """The end of an attention or feed-forward block.

    `end` is BERT's output module (dense, dropout, LayerNorm) or, where there is no such module, the block's last linear layer;
    `start` is then the module whose input is the block's input, and `norm` the norm that follows the residual sum, if one does.
    """

    end: nn.Module
    start: nn.Module | None = None
    norm: nn.Module | None = None

    def listen(self, change: Change, capture: Callable[[Tensor], None]) -> None:
        """Let `change` alter the block's output from now on.

        Raises:
            ModelError: the block's end does something besides (X-MOD's language adapters).
        """
        if self.start is None:
            end: Any = self.end
            if len(inspect.signature(end.forward).parameters) != 2:
                raise ModelError(
                    f"{type(end).__name__} takes more than a block's states and its residual: an adapter cannot be served exactly there",
                    hint="Load it with its own library, or take LoRA.",
                )
            end.forward = _post_norm_forward(end, change)
            return

        def take(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            capture(args[0])

        def give(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return change(output, None, self.norm)

        self.start.register_forward_pre_hook(take)
        self.end.register_forward_hook(give)


def _post_norm_forward(end: Any, change: Change) -> Callable[[Tensor, Tensor], Tensor]:
    def forward(hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        h = end.dropout(end.dense(hidden_states))
        normed: Tensor = end.LayerNorm(change(h, input_tensor, end.LayerNorm) + input_tensor)
        return normed

    return forward


@dataclass(frozen=True)
class _Places:
    """Names of modules: the list of layers, then of attention and of the feed-forward block the last linear layer, the module
    that reads the block's input, and the norm of the residual sum ("" for none)."""

    layers: str
    attention: tuple[str, str, str]
    output: tuple[str, str, str]
    last_norm: bool = False
    """Adapters were trained under the last layer's norm in every layer: so the library looks it up."""


_LLAMA = _Places("layers", ("self_attn.o_proj", "input_layernorm", ""), ("mlp.down_proj", "post_attention_layernorm", ""))
PLACES = {
    "modernbert": _Places("layers", ("attn.Wo", "attn", ""), ("mlp.Wo", "mlp", "")),
    "bloom": _Places("h", ("self_attention.dense", "input_layernorm", ""), ("mlp.dense_4h_to_h", "post_attention_layernorm", "")),
    "gpt2": _Places("h", ("attn.c_proj", "ln_1", ""), ("mlp.c_proj", "ln_2", "")),
    "distilbert": _Places(
        "transformer.layer", ("attention.out_lin", "attention.q_lin", "sa_layer_norm"), ("ffn.lin2", "ffn.lin1", "output_layer_norm")
    ),
    "gemma2": _Places(
        "layers",
        ("self_attn.o_proj", "input_layernorm", "post_attention_layernorm"),
        ("mlp.down_proj", "pre_feedforward_layernorm", "post_feedforward_layernorm"),
        last_norm=True,
    ),
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), _LLAMA),
}
"""model_type → where its blocks begin and end."""


def adapter_blocks(body: PreTrainedModel) -> dict[Place, Block]:
    """The blocks of a body where a bottleneck can stand.

    Raises:
        ModelError: the architecture is not known.
    """
    kind = body.config.model_type
    if kind in PLACES:
        places = PLACES[kind]
        if getattr(body.config, "apply_residual_connection_post_layernorm", False):
            # Such a Bloom adds the normalised state: its residual is what enters the two inner modules.
            places = _Places("h", (places.attention[0], "self_attention", ""), (places.output[0], "mlp", ""))
        found = {}
        layers: Any = body.get_submodule(places.layers)
        for i, layer in enumerate(layers):
            for name, (end, start, norm) in (("attention", places.attention), ("output", places.output)):
                following = (layers[-1] if places.last_norm else layer).get_submodule(norm) if norm else None
                found[i, name] = Block(layer.get_submodule(end), layer.get_submodule(start), following)
        return found
    found = {}
    for name, module in body.named_modules():
        match = re.fullmatch(r"encoder\.layer\.(\d+)\.(attention\.)?output", name)
        if match and all(hasattr(module, part) for part in ("dense", "dropout", "LayerNorm")):
            found[int(match[1]), "attention" if match[2] else "output"] = Block(module)
    if not found:
        raise ModelError(
            f"where bottleneck adapters stand in the architecture '{kind}' is not known",
            hint=f"Known: BERT, RoBERTa, XLM-R, ELECTRA, DeBERTa and {', '.join(sorted(PLACES))}; LoRA works on any.",
        )
    return found


def find_linear(body: PreTrainedModel, name: str) -> tuple[str, nn.Module]:
    """(dotted name in the body, module) of a linear layer that an adapter names, with or without the body's prefix.

    Raises:
        ModelError: the body has no such layer.
    """
    modules = dict(body.named_modules())
    path = name
    for _ in range(3):
        if path and path in modules:  # the empty path is the body itself
            linear_shape(modules[path], path)
            return path, modules[path]
        path = path.partition(".")[2]
    raise ModelError(
        f"the adapter is for another base: it changes '{name}', which '{body.config.model_type}' here does not have",
        hint=did_you_mean(name, [one for one, module in modules.items() if hasattr(module, "in_features")]),
    )


def linear_shape(module: nn.Module, path: str = "") -> tuple[int, int]:
    """(in, out) of a linear layer, quantised or not, or of GPT-2's transposed one.

    Raises:
        ModelError: it is none.
    """
    for into, out in (("in_features", "out_features"), ("nx", "nf")):
        if hasattr(module, into) and hasattr(module, out):
            return int(getattr(module, into)), int(getattr(module, out))
    raise ModelError(f"the adapter changes '{path}', a {type(module).__name__}, which is no linear layer")


@torch.no_grad()
def plain_weight(module: nn.Module) -> Tensor:
    """The float weight (out, in) of a linear layer; a quantised one is asked by feeding it the identity."""
    into, out = linear_shape(module)
    weight = getattr(module, "weight", None)
    if isinstance(weight, Tensor) and weight.is_floating_point() and weight.numel() == into * out:
        return (weight if hasattr(module, "in_features") else weight.T).float()
    identity = torch.eye(into, device=weight.device if isinstance(weight, Tensor) else None)
    product: Tensor = module(identity)
    bias = getattr(module, "bias", None)
    whole: Tensor = product if bias is None else product - bias
    return whole.float().T
