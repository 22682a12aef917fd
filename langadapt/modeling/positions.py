"""How long a text may be: the room of a position table, whatever it is called and wherever it starts to count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TABLES = ("wpe", "positions_embed")
"""Names of position tables that do not say so themselves."""


def position_table(model: PreTrainedModel) -> nn.Embedding | None:
    """The table of absolute positions of a body; None where positions are relative or computed."""
    for name, module in model.base_model.named_modules():
        last = name.rpartition(".")[2]
        if isinstance(module, nn.Embedding) and (("position" in last and "relative" not in last) or last in TABLES):
            return module
    return None


def counts_from_padding(model: PreTrainedModel) -> bool:
    """Whether positions start behind the padding id, as RoBERTa's and its kin's do."""
    table = position_table(model)
    return table is not None and table.padding_idx is not None


def room(model: PreTrainedModel) -> int | None:
    """Tokens, special ones included, that the positions of a body have room for; None where nothing bounds them."""
    stated = getattr(model.config, "max_position_embeddings", None)
    stated = stated if isinstance(stated, int) and stated > 0 else None  # XLNet writes -1 for no bound
    table: Any = position_table(model)
    if table is None:
        return stated
    skipped = table.padding_idx + 1 if table.padding_idx is not None else int(getattr(table, "offset", 0))
    rows = int(table.weight.shape[0]) - skipped
    return rows if stated is None else min(rows, stated)
