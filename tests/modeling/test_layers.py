"""Taking layers from a teacher, and starting from scratch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import (
    AlbertConfig,
    AutoModelForMaskedLM,
    BertConfig,
    DistilBertConfig,
    GPT2Config,
    GPT2Model,
    ModernBertConfig,
    RobertaConfig,
)

from langadapt.errors import ModelError
from langadapt.modeling.layers import keep_layers, random_weights

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 6, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.mark.parametrize(
    "config",
    [BertConfig(**SMALL), RobertaConfig(**SMALL), DistilBertConfig(vocab_size=60, dim=16, n_layers=6, n_heads=2, hidden_dim=32)],
    ids=["bert", "roberta", "distilbert"],
)
def test_evenly_spaced_layers_stay_bit_for_bit(config: BertConfig, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(config)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert keep_layers(model, 3) == [0, 2, 5]
    for name, value in model.state_dict().items():
        parts = name.split(".")
        number = next((i for i, part in enumerate(parts) if part.isdigit()), None)
        if number is not None:
            parts[number] = str([0, 2, 5][int(parts[number])])
        assert torch.equal(value, before[".".join(parts)]), name
    model.save_pretrained(tmp_path)
    again = AutoModelForMaskedLM.from_pretrained(tmp_path)
    ids = torch.randint(5, 60, (2, 9))
    assert torch.equal(again.eval()(ids).logits, model.eval()(ids).logits)
    assert again.config.num_hidden_layers == 3


def test_a_decoders_layers_are_numbered_anew() -> None:
    model = GPT2Model(GPT2Config(vocab_size=60, n_embd=16, n_layer=6, n_head=2))
    keep_layers(model, 2)
    assert [layer.attn.layer_idx for layer in model.h] == [0, 1]
    model.eval()(torch.randint(0, 60, (1, 5)), use_cache=True)


def test_layers_that_cannot_be_left_out() -> None:
    modern = AutoModelForMaskedLM.from_config(
        ModernBertConfig(**SMALL, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2)
    )
    with pytest.raises(ModelError, match="take turns"):
        keep_layers(modern, 3)
    shared = AutoModelForMaskedLM.from_config(AlbertConfig(**SMALL, embedding_size=8))
    with pytest.raises(ModelError, match="cannot be told apart"):
        keep_layers(shared, 3)
    with pytest.raises(ModelError, match="has 6"):
        keep_layers(AutoModelForMaskedLM.from_config(BertConfig(**SMALL)), 7)


def test_random_weights_are_one_seeds() -> None:
    model = AutoModelForMaskedLM.from_config(BertConfig(**SMALL))
    one, two, other = (random_weights(model, seed).state_dict() for seed in (1, 1, 2))
    name = "bert.encoder.layer.0.output.dense.weight"
    assert torch.equal(one[name], two[name])
    assert not torch.equal(one[name], other[name])
    assert not torch.equal(one[name], model.state_dict()[name])
