"""Tiny models with real architectures, and what every test does with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as T

from langadapt.modeling.loading import load_model

SIZES = {"vocab_size": 99, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128, "pad_token_id": 0}
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
BLOOM = {"vocab_size": 99, "hidden_size": 64, "n_layer": 2, "n_head": 2}
DISTIL = {"vocab_size": 99, "dim": 64, "n_layers": 2, "n_heads": 2, "hidden_dim": 128}
RELATIVE = {"pos_att_type": ["c2p", "p2c"], "relative_attention": True}

BODIES: dict[str, Callable[..., Any]] = {
    "bert": lambda **more: T.BertModel(T.BertConfig(**SIZES | more), add_pooling_layer=False),
    "bert-mlm": lambda **more: T.BertForMaskedLM(T.BertConfig(**SIZES | more)),
    "xlmr": lambda **more: T.XLMRobertaModel(T.XLMRobertaConfig(**SIZES | more), add_pooling_layer=False),
    "electra": lambda **more: T.ElectraModel(T.ElectraConfig(**SIZES | {"embedding_size": 32} | more)),
    "deberta-v2": lambda **more: T.DebertaV2Model(T.DebertaV2Config(**SIZES | RELATIVE | more)),
    "deberta": lambda **more: T.DebertaModel(T.DebertaConfig(**SIZES | RELATIVE | more)),
    "mpnet": lambda **more: T.MPNetModel(T.MPNetConfig(**SIZES | {"max_position_embeddings": 64} | more), add_pooling_layer=False),
    "distilbert": lambda **more: T.DistilBertModel(T.DistilBertConfig(**DISTIL | more)),
    "albert": lambda **more: T.AlbertModel(T.AlbertConfig(**SIZES | {"embedding_size": 32} | more), add_pooling_layer=False),
    "modernbert": lambda **more: T.ModernBertModel(T.ModernBertConfig(**SIZES | SPECIAL | more)),
    "llama": lambda **more: T.LlamaModel(T.LlamaConfig(**SIZES | more)),
    "bloom": lambda **more: T.BloomModel(T.BloomConfig(**BLOOM | more)),
    "gpt2": lambda **more: T.GPT2Model(T.GPT2Config(vocab_size=99, n_embd=64, n_layer=2, n_head=2, **more)),
    "fnet": lambda **more: T.FNetModel(T.FNetConfig(**SIZES | more)),
}


class Lab:
    """Builds, runs and trains tiny models, the same for the same seed."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(5)
        self.ids = torch.randint(5, 90, (3, 9), generator=generator)
        self.mask = torch.ones_like(self.ids)
        self.mask[1, 6:] = 0
        self.target = torch.randn(64, generator=generator)

    def fresh(self, family: str, **more: Any) -> Any:
        """A model without dropout whose weights depend on the family alone."""
        torch.manual_seed(3)
        model = BODIES[family](**more)
        for module in model.modules():
            if hasattr(module, "p") and hasattr(module, "train"):
                module.p = 0.0
            if hasattr(module, "dropout_prob"):
                module.dropout_prob = 0.0
        generator = torch.Generator().manual_seed(7)
        for _, weight in sorted(model.base_model.named_parameters()):
            weight.data += 0.05 * torch.randn(weight.shape, generator=generator)
        return model.eval()

    def quantised(self, family: str, adaptation: Any, folder: Path) -> Any:
        """The same on the base that a quantising adaptation asks for, without dropout."""
        quiet = {} if family == "bloom" else {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        if not folder.is_dir():
            self.fresh(family, **quiet).save_pretrained(folder)
        return load_model(folder, False, adaptation.load_options("cpu"))

    def states(self, model: Any) -> torch.Tensor:
        """Last states (3, 9, d) of the body."""
        return model.base_model(input_ids=self.ids, attention_mask=self.mask).last_hidden_state  # type: ignore[no-any-return]

    def outputs(self, model: Any) -> torch.Tensor:
        """The same in evaluation mode, without gradients."""
        training = model.training
        model.eval()
        with torch.no_grad():
            found = self.states(model)
        model.train(training)
        return found

    def loss(self, model: Any) -> torch.Tensor:
        return (self.states(model) * self.target).sum(-1).sub(1).pow(2).mean()

    def train(self, model: Any, steps: int = 3, optimiser: Any = None) -> list[float]:
        """AdamW on the trainable weights; the losses."""
        optimiser = optimiser or torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=1e-2)
        model.train()
        losses = []
        for _ in range(steps):
            optimiser.zero_grad()
            loss = self.loss(model)
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        model.eval()
        return losses


@pytest.fixture(scope="session")
def lab() -> Lab:
    return Lab()


@pytest.fixture(scope="session")
def trainable() -> Callable[[Any], dict[str, torch.Tensor]]:
    """Weights that train, by name."""
    return lambda model: {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
