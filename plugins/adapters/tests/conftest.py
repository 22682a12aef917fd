"""Tiny models with real architectures, and what every test does with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as T

SIZES = {"vocab_size": 99, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128, "pad_token_id": 0}
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
RELATIVE = {"pos_att_type": ["c2p", "p2c"], "relative_attention": True}

BODIES: dict[str, Callable[..., Any]] = {
    "bert": lambda **more: T.BertModel(T.BertConfig(**SIZES | more)),
    "xlmr": lambda **more: T.XLMRobertaModel(T.XLMRobertaConfig(**SIZES | more)),
    "modernbert": lambda **more: T.ModernBertModel(T.ModernBertConfig(**SIZES | SPECIAL | more)),
    "llama": lambda **more: T.LlamaModel(T.LlamaConfig(**SIZES | more)),
    "bloom": lambda **more: T.BloomModel(T.BloomConfig(vocab_size=99, hidden_size=64, n_layer=2, n_head=2, **more)),
    "deberta": lambda **more: T.DebertaModel(T.DebertaConfig(**SIZES | RELATIVE | more)),
    "gpt2": lambda **more: T.GPT2Model(T.GPT2Config(vocab_size=99, n_embd=64, n_layer=2, n_head=2, **more)),
    "fnet": lambda **more: T.FNetModel(T.FNetConfig(**SIZES | more)),
    "bert-mlm": lambda **more: T.BertForMaskedLM(T.BertConfig(**SIZES | more)),
    "xlmr-mlm": lambda **more: T.XLMRobertaForMaskedLM(T.XLMRobertaConfig(**SIZES | more)),
    "modernbert-mlm": lambda **more: T.ModernBertForMaskedLM(T.ModernBertConfig(**SIZES | SPECIAL | more)),
    "bloom-lm": lambda **more: T.BloomForCausalLM(T.BloomConfig(vocab_size=99, hidden_size=64, n_layer=2, n_head=2, **more)),
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
        """A model in evaluation mode with weights that depend on the family alone, with or without a head."""
        torch.manual_seed(3)
        model = BODIES[family](**more)
        generator = torch.Generator().manual_seed(7)
        for _, weight in sorted(model.base_model.named_parameters(), key=lambda pair: pair[0]):
            weight.data += 0.05 * torch.randn(weight.shape, generator=generator)
        return model.eval()

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

    def attached(self, family: str, adaptation: Any, seed: int = 1, **more: Any) -> Any:
        model = self.fresh(family, **more)
        torch.manual_seed(seed)
        adaptation.attach(model)
        return model

    def train(self, model: Any, steps: int = 2) -> None:
        """AdamW on the trainable weights; each must have got a gradient."""
        weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        optimiser = torch.optim.AdamW(weights.values(), lr=1e-2)
        model.train()
        for _ in range(steps):
            optimiser.zero_grad()
            (self.states(model) * self.target).sum(-1).sub(1).pow(2).mean().backward()
            optimiser.step()
        lost = [name for name, weight in weights.items() if weight.grad is None or not bool(weight.grad.abs().sum() > 0)]
        assert not lost, f"no gradient: {lost}"
        model.eval()

    def trained(self, family: str, adaptation: Any, folder: Path, seed: int = 1) -> Any:
        """A model trained with `adaptation`, saved in `folder`."""
        model = self.attached(family, adaptation, seed)
        self.train(model)
        adaptation.save(model, folder)
        return model

    def loaded(self, family: str, adaptation: Any, folder: Path, **more: Any) -> Any:
        """A fresh model with what was saved in `folder`."""
        model = self.fresh(family, **more)
        torch.manual_seed(99)
        adaptation.load(model, folder)
        return model


@pytest.fixture(scope="session")
def lab() -> Lab:
    return Lab()


def trainable(model: Any) -> set[str]:
    """Names of the weights that train."""
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


@pytest.fixture(scope="session", name="trainable")
def _trainable() -> Callable[[Any], set[str]]:
    return trainable
