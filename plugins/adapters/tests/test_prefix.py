"""Prefixes: they train, they come back, and architectures without them are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file

from langadapt.errors import ModelError

adapters = pytest.importorskip("adapters")

from langadapt_adapters.prefix import Prefix  # noqa: E402

if TYPE_CHECKING:
    from conftest import Lab

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("family", ["bert", "xlmr", "bert-mlm"])
def test_train_save_load(family: str, flat: bool, lab: Lab, tmp_path: Path, trainable: Callable[[Any], set[str]]) -> None:
    base = lab.fresh(family)
    adaptation = Prefix(length=3, bottleneck_size=8, flat=flat)
    model = lab.trained(family, adaptation, tmp_path)
    now = dict(model.named_parameters())
    assert all(torch.equal(weight, now[name]) and now[name].grad is None for name, weight in base.named_parameters())
    after = lab.outputs(model)
    assert (after - lab.outputs(base)).abs().max() > 1e-3
    saved = load_file(tmp_path / "adapter.safetensors")
    # Three positions × two layers × key and value × 64, once for the model and not once more for each layer.
    count = 3 * 2 * 2 * 64 if flat else 3 * 64 + (64 + 1) * 8 + (8 + 1) * 2 * 2 * 64
    assert sum(tensor.numel() for tensor in saved.values()) == count == sum(now[name].numel() for name in trainable(model))
    assert all(key.startswith("prefix_tuning.prefix_tunings.adapter.self_prefix.") for key in saved)
    assert (tmp_path / "adapter.safetensors").stat().st_size <= count * 4 + 200 * len(saved)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["config"]["prefix_length"] == 3

    again = lab.loaded(family, adaptation, tmp_path)
    assert torch.equal(lab.outputs(again), after)
    assert trainable(again) == trainable(model)
    lab.train(again, 1)
    stock = lab.fresh(family)
    adapters.init(stock)
    stock.load_adapter(str(tmp_path), use_safetensors=True, set_active=True)
    assert torch.equal(lab.outputs(stock), after)


def test_texts_without_padding(lab: Lab) -> None:
    """The core leaves a full mask out; the prefix must count all the same."""
    model = lab.attached("bert", Prefix(length=3, flat=True))
    with torch.no_grad():
        without = model(input_ids=lab.ids).last_hidden_state
        full = model(input_ids=lab.ids, attention_mask=torch.ones_like(lab.ids)).last_hidden_state
        bare = lab.fresh("bert")(input_ids=lab.ids).last_hidden_state
    assert torch.allclose(without, full, atol=1e-5)
    assert (without - bare).abs().max() > 1e-2


@pytest.mark.parametrize("family", ["modernbert", "llama", "bloom", "gpt2"])
def test_refused_where_it_would_not_train(family: str, lab: Lab) -> None:
    model = lab.fresh(family)
    with pytest.raises(ModelError, match="prefix tuning does not work on.*Use 'bottleneck'"):
        Prefix().attach(model)
    assert not isinstance(model, adapters.ModelAdaptersMixin)
