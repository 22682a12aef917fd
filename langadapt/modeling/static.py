"""A static encoder: one vector a token, whatever stands around it.  A body like any other, so that it is trained, scored and released."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput


class StaticConfig(PretrainedConfig):  # type: ignore[misc]
    """Of a table of token vectors."""

    model_type = "static-embedding"

    def __init__(self, vocab_size: int = 1, hidden_size: int = 1, pad_token_id: int | None = 0, **more: Any) -> None:
        super().__init__(pad_token_id=pad_token_id, **more)
        self.vocab_size, self.hidden_size = vocab_size, hidden_size
        self.num_hidden_layers, self.num_attention_heads = 0, 0


class StaticModel(PreTrainedModel):  # type: ignore[misc]
    """The table: ids (B, T) → states (B, T, d), each its token's row."""

    config_class = StaticConfig
    base_model_prefix = "static"

    def __init__(self, config: StaticConfig) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            module.weight.data.normal_(std=0.02)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embedding = value  # type: ignore[assignment]

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, output_hidden_states: bool = False, **_: Any
    ) -> BaseModelOutput:
        states = self.embedding(input_ids)
        return BaseModelOutput(last_hidden_state=states, hidden_states=(states,) if output_hidden_states else None)


def register() -> None:
    """Let transformers' auto classes know it."""
    AutoConfig.register(StaticConfig.model_type, StaticConfig, exist_ok=True)
    AutoModel.register(StaticConfig, StaticModel, exist_ok=True)
