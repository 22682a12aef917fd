"""Which linear layers low-rank methods change, by architecture.

Names are endings of module names: ``query`` stands for every ``….query`` of the body.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from langadapt.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Targets:
    """Layers of one architecture by what they do."""

    queries: tuple[str, ...]
    """Query projection (or the fused one)."""
    keys_values: tuple[str, ...]
    """Key and value projections; empty where they are fused with the query's."""
    rest: tuple[str, ...]
    """Attention's output and the feed-forward layers."""
    forward_out: tuple[str, ...]
    """The last feed-forward layer, whose input (IA)³ scales."""

    def named(self, which: str) -> list[str]:
        """``attention``: queries, keys and values; ``all``: every linear layer of a block."""
        attention = [*self.queries, *self.keys_values]
        return attention if which == "attention" else [*attention, *self.rest]


_BERT = Targets(
    ("attention.self.query",),
    ("attention.self.key", "attention.self.value"),
    ("attention.output.dense", "intermediate.dense", "output.dense"),
    ("output.dense",),
)
_LLAMA = Targets(("q_proj",), ("k_proj", "v_proj"), ("o_proj", "gate_proj", "up_proj", "down_proj"), ("down_proj",))

TARGETS = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra", "xlm-roberta-xl", "roberta-prelayernorm"), _BERT),
    "mpnet": Targets(("attn.q",), ("attn.k", "attn.v"), ("attn.o", "intermediate.dense", "output.dense"), ("output.dense",)),
    "deberta": Targets(("in_proj",), (), ("attention.output.dense", "intermediate.dense", "output.dense"), ("output.dense",)),
    "deberta-v2": Targets(
        ("query_proj",),
        ("key_proj", "value_proj"),
        ("attention.output.dense", "intermediate.dense", "output.dense"),
        ("output.dense",),
    ),
    "distilbert": Targets(("q_lin",), ("k_lin", "v_lin"), ("out_lin", "lin1", "lin2"), ("lin2",)),
    "albert": Targets(
        ("attention.query",), ("attention.key", "attention.value"), ("attention.dense", "ffn", "ffn_output"), ("ffn_output",)
    ),
    "modernbert": Targets(("attn.Wqkv",), (), ("attn.Wo", "mlp.Wi", "mlp.Wo"), ("mlp.Wo",)),
    "bloom": Targets(("query_key_value",), (), ("dense", "dense_h_to_4h", "dense_4h_to_h"), ("dense_4h_to_h",)),
    "gpt2": Targets(("c_attn",), (), ("c_proj", "c_fc"), ("mlp.c_proj",)),
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2"), _LLAMA),
}


def find_targets(model: PreTrainedModel) -> Targets:
    """The layers of a model's architecture.

    Raises:
        ModelError: the architecture is not in the table.
    """
    kind = model.config.model_type
    if kind not in TARGETS:
        raise ModelError(
            f"which layers of the architecture '{kind}' to adapt is not known",
            hint=f"Name them with the option 'targets', by the endings of their names; this model has: {', '.join(linear_names(model))}.",
        )
    return TARGETS[kind]


def linear_names(model: PreTrainedModel) -> list[str]:
    """Endings of the names of a body's linear layers, each once."""
    names = [name for name, module in model.base_model.named_modules() if hasattr(module, "in_features") or hasattr(module, "nf")]
    return sorted({name.rsplit(".", 1)[-1] for name in names})


def check_targets(model: PreTrainedModel, targets: list[str]) -> list[str]:
    """The targets, when every one of them ends the name of some linear layer.

    Raises:
        ModelError: naming those that do not.
    """
    modules = [name for name, module in model.base_model.named_modules() if hasattr(module, "in_features") or hasattr(module, "nf")]
    lost = [one for one in targets if not any(name == one or name.endswith(f".{one}") for name in modules)]
    if lost:
        raise ModelError(
            f"no linear layer's name ends with {', '.join(repr(one) for one in lost)}",
            hint=f"This model's linear layers end with: {', '.join(linear_names(model))}.",
        )
    return targets
