"""Bottlenecks: the base stays what it is, the adapter alone trains, and what is saved comes back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file

from langadapt.errors import ModelError
from langadapt.registry.registry import Registry

adapters = pytest.importorskip("adapters")

from langadapt_adapters.bottleneck import Bottleneck  # noqa: E402
from langadapt_adapters.library import prepare  # noqa: E402

if TYPE_CHECKING:
    from conftest import Lab

pytestmark = pytest.mark.usefixtures("one_thread")

FAMILIES = ["bert", "xlmr", "modernbert", "llama", "bloom"]
FORMS: list[Any] = ["seq_bn", "double_seq_bn", "par_bn"]
FIRST_LAYER = {
    "bert": "encoder.layer.0.output",
    "xlmr": "encoder.layer.0.output",
    "modernbert": "layers.0.output_adapters",
    "llama": "layers.0.output_adapters",
    "bloom": "h.0.output_adapters",
}
ATTENTION = {
    "bert": "encoder.layer.0.attention.output",
    "xlmr": "encoder.layer.0.attention.output",
    "modernbert": "layers.0.attention_adapters",
    "llama": "layers.0.attention_adapters",
    "bloom": "h.0.attention_adapters",
}
PARTS = ["adapter_down.0.bias", "adapter_down.0.weight", "adapter_up.bias", "adapter_up.weight"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("family", FAMILIES)
def test_train_save_load(family: str, form: Any, lab: Lab, tmp_path: Path, trainable: Callable[[Any], set[str]]) -> None:
    base = lab.fresh(family)
    before = lab.outputs(base)
    adaptation = Bottleneck(form=form, reduction_factor=4)
    model = lab.attached(family, adaptation)
    assert trainable(model) == {name for name, _ in model.named_parameters() if ".adapters.adapter." in name} != set()
    lab.train(model)
    now = dict(model.named_parameters())
    for name, weight in base.named_parameters():
        assert torch.equal(weight, now[name]), name
        assert now[name].grad is None
    after = lab.outputs(model)
    assert (after - before).abs().max() > 1e-2

    adaptation.save(model, tmp_path / "new" / "adapter")
    folder = tmp_path / "new" / "adapter"
    saved = load_file(folder / "adapter.safetensors")
    places = [FIRST_LAYER[family]] + ([ATTENTION[family]] if form == "double_seq_bn" else [])
    assert {key for key in saved if ".0." in key.split(".adapters.")[0]} == {
        f"{at}.adapters.adapter.{part}" for at in places for part in PARTS
    }
    assert saved[f"{places[0]}.adapters.adapter.adapter_down.0.weight"].shape == (16, 64)
    count = sum(now[name].numel() for name in trainable(model))
    assert sum(tensor.numel() for tensor in saved.values()) == count
    assert (folder / "adapter.safetensors").stat().st_size <= count * 4 + 200 * len(saved)

    again = lab.loaded(family, adaptation, folder)
    assert torch.equal(lab.outputs(again), after)
    assert trainable(again) == trainable(model)
    lab.train(again, 1)
    assert not torch.equal(lab.outputs(again), after)


@pytest.mark.parametrize("family", [*FAMILIES, "deberta"])
def test_places_for_adapters_change_nothing(family: str, lab: Lab) -> None:
    """The library's own `init` gives ModernBERT and DeBERTa random biases."""
    model = lab.fresh(family)
    before, names = lab.outputs(model), set(model.state_dict())
    prepare(model, "bottleneck")
    assert isinstance(model, adapters.ModelAdaptersMixin)
    # The library computes DeBERTa's attention in another order.
    assert (lab.outputs(model) - before).abs().max() <= (2e-6 if family == "deberta" else 0)
    assert not [name for name in set(model.state_dict()) - names if name.endswith(".bias")]


@pytest.mark.parametrize("family", [*FAMILIES, "deberta"])
def test_the_library_loads_what_is_saved(family: str, lab: Lab, tmp_path: Path) -> None:
    model = lab.trained(family, Bottleneck(form="double_seq_bn"), tmp_path)
    stock = lab.fresh(family)
    if family == "deberta":
        prepare(stock, "bottleneck")  # the library alone spoils it
    else:
        file = tmp_path / "adapter_interface.json"
        points = adapters.AdapterModelInterface(**json.loads(file.read_text())["interface"]) if file.is_file() else None
        assert (points is None) == (family in ("bert", "xlmr", "llama"))
        adapters.init(stock, interface=points)
    assert stock.load_adapter(str(tmp_path), use_safetensors=True, set_active=True) == "adapter"
    assert torch.equal(lab.outputs(stock), lab.outputs(model))
    assert not list(tmp_path.glob("*.bin"))


@pytest.mark.parametrize(
    ("body", "headed"), [("bert", "bert-mlm"), ("xlmr", "xlmr-mlm"), ("modernbert", "modernbert-mlm"), ("bloom", "bloom-lm")]
)
def test_heads_do_not_train_and_do_not_matter(
    body: str, headed: str, lab: Lab, tmp_path: Path, trainable: Callable[[Any], set[str]]
) -> None:
    more = {"add_pooling_layer": False} if body in ("bert", "xlmr") else {}
    adaptation = Bottleneck()
    model = lab.trained(headed, adaptation, tmp_path / "headed")
    assert all(".adapters.adapter." in name for name in trainable(model))
    assert lab.outputs(model).isfinite().all()
    bare = _bare(lab, body, model, more)
    adaptation.load(bare, tmp_path / "headed")
    assert torch.equal(lab.outputs(bare), lab.outputs(model))
    adaptation.save(bare, tmp_path / "bare")
    assert load_file(tmp_path / "bare" / "adapter.safetensors").keys() == load_file(tmp_path / "headed" / "adapter.safetensors").keys()
    # A folder saved by the library from a model with a head names the body in its keys, and loads as well.
    model.save_adapter(str(tmp_path / "library"), "adapter", use_safetensors=True, with_head=False)
    prefix = model.base_model_prefix
    assert all(key.startswith(f"{prefix}.") for key in load_file(tmp_path / "library" / "adapter.safetensors"))
    other = _bare(lab, body, model, more)
    adaptation.load(other, tmp_path / "library")
    assert torch.equal(lab.outputs(other), lab.outputs(model))


def _bare(lab: Lab, body: str, model: Any, more: dict[str, Any]) -> Any:
    """A body with the base weights of `model` and no adapter."""
    bare = lab.fresh(body)
    weights = model.base_model.state_dict()
    bare.load_state_dict({key: weights.get(key, value) for key, value in bare.state_dict().items()})
    return bare


def test_the_seed_alone_decides(lab: Lab) -> None:
    one, same, other = (lab.attached("bert", Bottleneck(), seed) for seed in (1, 1, 2))
    key = "encoder.layer.1.output.adapters.adapter.adapter_down.0.weight"
    weights = [dict(model.named_parameters())[key] for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_options_reach_the_library(lab: Lab, tmp_path: Path, registry: Registry) -> None:
    adaptation: Any = registry.build(
        "adaptation", {"use": "bottleneck", "form": "par_bn", "reduction_factor": 2.5, "non_linearity": "GELU", "dropout": 0.25}
    )
    assert isinstance(adaptation, Bottleneck)
    assert adaptation.light and not adaptation.mergeable
    assert adaptation.load_options("cpu") == {}
    model = lab.attached("bert", adaptation)
    layer = model.encoder.layer[0].output.adapters["adapter"]
    assert layer.down_sample == 25 == layer.adapter_down[0].out_features
    assert layer.dropout.p == 0.25
    adaptation.save(model, tmp_path)
    settings = json.loads((tmp_path / "adapter_config.json").read_text())["config"]
    assert settings["is_parallel"] and settings["non_linearity"] == "gelu" and settings["scaling"] == 4.0
    assert Bottleneck().settings("par_bn").non_linearity == "relu"
    assert Bottleneck().settings("double_seq_bn").non_linearity == "swish"
    with pytest.raises(ModelError, match="no activation 'gleu'.*Did you mean 'gelu'"):
        Bottleneck(non_linearity="gleu").attach(lab.fresh("bert"))


def test_mode_class_and_origin_stay(lab: Lab, tmp_path: Path) -> None:
    from transformers import BertForMaskedLM

    tied = list(BertForMaskedLM._tied_weights_keys)
    model = lab.fresh("bert-mlm").train()
    config = model.config.to_dict()
    model.config.name_or_path = str(tmp_path)
    Bottleneck().attach(model)
    assert model.training
    Bottleneck().save(model, tmp_path / "a")
    assert str(tmp_path) not in (tmp_path / "a" / "adapter_config.json").read_text()
    assert model.config.name_or_path == str(tmp_path)
    assert model.config.to_dict() == {**config, "_name_or_path": str(tmp_path)}
    assert BertForMaskedLM._tied_weights_keys == tied
    model.config.name_or_path = "google-bert/bert-base-cased"
    Bottleneck().save(model, tmp_path / "b")
    assert json.loads((tmp_path / "b" / "adapter_config.json").read_text())["model_name"] == "google-bert/bert-base-cased"
    quiet = lab.fresh("bert")
    Bottleneck().attach(quiet)
    assert not quiet.training


@pytest.mark.parametrize("normalised", [False, True])
def test_bloom_takes_the_residual_that_bloom_adds(normalised: bool, lab: Lab) -> None:
    model = lab.attached("bloom", Bottleneck(), apply_residual_connection_post_layernorm=normalised)
    added: list[torch.Tensor] = []
    taken: list[torch.Tensor] = []
    model.h[1].mlp.register_forward_pre_hook(lambda _, args: added.append(args[1]))
    model.h[1].output_adapters.register_forward_pre_hook(lambda _, args: taken.append(args[1]))
    lab.outputs(model)
    assert len(added) == len(taken) == 1
    assert torch.equal(added[0], taken[0])


def test_refusals(lab: Lab) -> None:
    with pytest.raises(ModelError, match="no way to put adapters into the architecture 'fnet'"):
        Bottleneck().attach(lab.fresh("fnet"))
    model = lab.attached("bert", Bottleneck())
    with pytest.raises(ModelError, match="already carries an adapter"):
        Bottleneck().attach(model)
    with pytest.raises(ModelError, match="slow_but_exact"):
        Bottleneck().attach(lab.fresh("bloom", pretraining_tp=2, slow_but_exact=True))


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("family", ["bert", "modernbert", "bloom", "gpt2"])
def test_quantised(family: str, bits: int, lab: Lab, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    from transformers import AutoModel, BitsAndBytesConfig

    lab.fresh(family).save_pretrained(tmp_path / "base")

    def quantised() -> Any:
        quantisation = BitsAndBytesConfig(load_in_8bit=bits == 8, load_in_4bit=bits == 4, bnb_4bit_quant_type="nf4")
        return AutoModel.from_pretrained(tmp_path / "base", quantization_config=quantisation, dtype=torch.float32).eval()

    adaptation, model = Bottleneck(reduction_factor=4), quantised()
    if family == "gpt2":
        with pytest.raises(ModelError, match="'gpt2' cannot carry adapters while quantised"):
            adaptation.attach(model)
        return
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    torch.manual_seed(1)
    adaptation.attach(model)
    start = lab.outputs(lab_copy(adaptation, quantised()))
    lab.train(model)
    now = dict(model.named_parameters())
    # bitsandbytes itself reorders 4-bit weights for some processors; 8-bit and unquantised ones must be untouched.
    assert all(torch.equal(weight, now[name]) for name, weight in before.items() if weight.dtype != torch.uint8)
    after = lab.outputs(model)
    assert (after - start).abs().max() > 1e-2
    adaptation.save(model, tmp_path / "adapter")
    assert {str(tensor.dtype) for tensor in load_file(tmp_path / "adapter" / "adapter.safetensors").values()} == {"torch.float32"}
    again = quantised()
    adaptation.load(again, tmp_path / "adapter")
    assert torch.equal(lab.outputs(again), after)


def lab_copy(adaptation: Bottleneck, model: Any) -> Any:
    """Another model with the same fresh adapter."""
    torch.manual_seed(1)
    adaptation.attach(model)
    return model
