"""Where adapters meet a transformer: its linear layers by name, and the ends of its blocks.

A bottleneck needs a block's output before the residual is added, the block's input, and the norm that follows, if one does.
Post-norm models (BERT and its kin) have all three in one small module; pre-norm models are listened to in two places.
"""

from __future__ import annotations

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

    `end` is BERT's output module (dense, dropout, LayerNorm) or, in a pre-norm model, the block's last linear layer; `start`
    is the module whose input is the block's input, for pre-norm models alone.
    """

    end: nn.Module
    start: nn.Module | None = None

    def listen(self, change: Change, capture: Callable[[Tensor], None]) -> None:
        """Let `change` alter the block's output from now on."""
        if self.start is None:
            end: Any = self.end
            end.forward = _post_norm_forward(end, change)
            return

        def take(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            capture(args[0])

        def give(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return change(output, None, None)

        self.start.register_forward_pre_hook(take)
        self.end.register_forward_hook(give)


def _post_norm_forward(end: Any, change: Change) -> Callable[[Tensor, Tensor], Tensor]:
    def forward(hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        h = end.dropout(end.dense(hidden_states))
        normed: Tensor = end.LayerNorm(change(h, input_tensor, end.LayerNorm) + input_tensor)
        return normed

    return forward


PRE_NORM = {
    "modernbert": ("layers", "attn.Wo", "attn", "mlp.Wo", "mlp"),
    "bloom": ("h", "self_attention.dense", "input_layernorm", "mlp.dense_4h_to_h", "post_attention_layernorm"),
    **dict.fromkeys(
        ("llama", "mistral", "qwen2", "qwen3"),
        ("layers", "self_attn.o_proj", "input_layernorm", "mlp.down_proj", "post_attention_layernorm"),
    ),
}
"""model_type → layer list; attention's last linear and the module that reads its input; the feed-forward block's."""


def adapter_blocks(body: PreTrainedModel) -> dict[Place, Block]:
    """The blocks of a body where a bottleneck can stand.

    Raises:
        ModelError: the architecture is not known.
    """
    kind = body.config.model_type
    if kind in PRE_NORM:
        layers, attention, attention_start, output, output_start = PRE_NORM[kind]
        if getattr(body.config, "apply_residual_connection_post_layernorm", False):
            # Such a Bloom adds the normalised state: its residual is what enters the two inner modules.
            attention_start, output_start = "self_attention", "mlp"
        found = {}
        for i, layer in enumerate(body.get_submodule(layers)):  # type: ignore[arg-type]
            found[i, "attention"] = Block(layer.get_submodule(attention), layer.get_submodule(attention_start))
            found[i, "output"] = Block(layer.get_submodule(output), layer.get_submodule(output_start))
        return found
    found = {}
    for name, module in body.named_modules():
        match = re.fullmatch(r"encoder\.layer\.(\d+)\.(attention\.)?output", name)
        if match and all(hasattr(module, part) for part in ("dense", "dropout", "LayerNorm")):
            found[int(match[1]), "attention" if match[2] else "output"] = Block(module)
    if not found:
        raise ModelError(
            f"where bottleneck adapters stand in the architecture '{kind}' is not known",
            hint=f"Known: BERT, RoBERTa, XLM-R, ELECTRA, DeBERTa and {', '.join(sorted(PRE_NORM))}; LoRA works on any.",
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
