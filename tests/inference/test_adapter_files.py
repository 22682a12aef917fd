"""Saved adapters read without their libraries: exactly, or refused with the place and the reason.  And adapters merged into a base."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers as T
from safetensors.torch import load_file, save_file
from torch import Tensor

from langadapt.artifacts import adapter as adapters
from langadapt.errors import ModelError
from langadapt.inference.adapter_files import AdapterWeights, Bottleneck, LowRank, read_adapter
from langadapt.inference.bank import AdapterBank
from langadapt.modeling.loading import load_model, quantization_options
from langadapt.release.merging import merge, merged, servable

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore::UserWarning")]

SIZES = {"vocab_size": 99, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128, "pad_token_id": 0}
IDS = torch.randint(5, 90, (3, 9), generator=torch.Generator().manual_seed(5))
QUERY = "encoder.layer.0.attention.self.query"
LORA = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none", "use_dora": False, "use_rslora": False}
PAIR = {f"base_model.model.{QUERY}.lora_A.weight": torch.ones(2, 64), f"base_model.model.{QUERY}.lora_B.weight": torch.ones(64, 2)}


def body(family: str = "bert") -> Any:
    torch.manual_seed(3)
    if family == "gpt2":
        model: Any = T.GPT2Model(T.GPT2Config(vocab_size=99, n_embd=64, n_layer=2, n_head=2))
    elif family == "llama":
        model = T.LlamaModel(T.LlamaConfig(**SIZES))
    else:
        model = T.BertModel(T.BertConfig(**SIZES), add_pooling_layer=False)
    for weight in model.parameters():
        weight.data += 0.05 * torch.randn(weight.shape)
    return model.eval()


def outputs(model: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=IDS).last_hidden_state
    return found


def peft_adapter(folder: Path, config: Any, family: str = "bert") -> Tensor:
    """Save an adapter of random weights; what it gives in peft."""
    torch.manual_seed(5)
    model = peft.get_peft_model(body(family), config).eval()
    for name, weight in model.named_parameters():
        if "lora_" in name or "ia3_" in name:
            weight.data += 0.1 * torch.randn(weight.shape)
    model.save_pretrained(folder)
    return outputs(model)


def in_bank(folder: Path, family: str = "bert") -> Tensor:
    bank = AdapterBank(body(family))
    bank.add("x", lambda: read_adapter(folder))
    with bank.lease(["x"] * 3) as lease, lease.rows(range(3)):
        return outputs(bank.body)


def write(folder: Path, config: Any, tensors: dict[str, Tensor] | None = None, file: str = "adapter_model.safetensors") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(config if isinstance(config, str) else json.dumps(config), encoding="utf-8")
    if tensors is not None:
        save_file({name: tensor.clone() for name, tensor in tensors.items()}, folder / file)
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_adapter(folder)
    assert caught.value.where is not None
    assert caught.value.where.startswith(str(folder))
    return str(caught.value)


# folders that are no adapters ----------------------------------------------------------------------------------------------


def test_missing_and_damaged_folders(tmp_path: Path) -> None:
    assert "there is no such adapter folder" in refused(tmp_path / "absent")
    assert "there is no adapter_config.json Is this an adapter folder?" in refused(tmp_path)
    assert "neither adapter_model.safetensors nor adapter.safetensors" in refused(write(tmp_path, LORA))
    assert "adapter_config.json: is truncated or no JSON" in refused(write(tmp_path, json.dumps(LORA)[:-9], PAIR))
    assert "adapter_config.json: holds a list where an object is meant" in refused(write(tmp_path, [1, 2], PAIR))
    (tmp_path / "adapter_config.json").write_bytes(b"\xff\xfe{")
    assert "is truncated or no JSON" in refused(tmp_path)
    write(tmp_path, LORA, PAIR)
    assert set(read_adapter(tmp_path).low_rank) == {QUERY}
    file = tmp_path / "adapter_model.safetensors"
    whole = file.read_bytes()
    for end in (0, 5, 100, len(whole) - 1):
        file.write_bytes(whole[:end])
        assert "adapter_model.safetensors: is truncated or no safetensors file" in refused(tmp_path)
    file.write_bytes(b"<!DOCTYPE html><p>Not found</p>" * 20)
    assert "is truncated or no safetensors file" in refused(tmp_path)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    write(tmp_path, LORA)
    (tmp_path / "adapter_model.bin").write_bytes(pickle.dumps(Trap()))
    message = refused(tmp_path)
    assert "the adapter is pickled (adapter_model.bin), and loading a pickle can run any code Save it as safetensors" in message
    assert not (tmp_path / "sprung").exists()
    write(tmp_path, LORA, PAIR)  # beside safetensors a pickle is no matter
    assert read_adapter(tmp_path).parameters == 256


MALFORMED = {
    "no alpha": ({key: value for key, value in LORA.items() if key != "lora_alpha"}, PAIR, "lacks the tensor or setting 'lora_alpha'"),
    "alpha as text": (LORA | {"lora_alpha": "16"}, PAIR, "settings or tensors are malformed"),
    "alpha list": (LORA | {"alpha_pattern": [3]}, PAIR, "settings or tensors are malformed"),
    "bad pattern": (LORA | {"alpha_pattern": {"(": 3}}, PAIR, "settings or tensors are malformed"),
    "half a pair": (LORA, dict(list(PAIR.items())[:1]), "lacks the tensor or setting 'lora_B.weight'"),
    "other half": (LORA, dict(list(PAIR.items())[1:]), "lacks the tensor or setting 'lora_A.weight'"),
    "no magnitude": (LORA | {"use_dora": True}, PAIR, "lacks the tensor or setting 'lora_magnitude_vector'"),
    "no type": ({}, PAIR, "is of peft's type None, which cannot be served exactly Load it with its own library"),
}


@pytest.mark.parametrize("case", sorted(MALFORMED))
def test_malformed_settings(case: str, tmp_path: Path) -> None:
    config, tensors, message = MALFORMED[case]
    assert message in refused(write(tmp_path, config, tensors))


# peft ------------------------------------------------------------------------------------------------------------------

TARGETS = ["query", "value"]
FOREIGN = {
    "vera": (peft.VeraConfig(r=4, target_modules=TARGETS), "is of peft's type VERA"),
    "adalora": (peft.AdaLoraConfig(target_modules=TARGETS, total_step=10), "is of peft's type ADALORA"),
    "bias": (peft.LoraConfig(target_modules=TARGETS, bias="all"), "trains biases"),
    "lora bias": (peft.LoraConfig(target_modules=TARGETS, bias="lora_only"), "trains biases"),
    "biases inside": (peft.LoraConfig(target_modules=TARGETS, lora_bias=True), "trains biases in its matrices"),
    "whole modules": (peft.LoraConfig(target_modules=TARGETS, modules_to_save=["intermediate"]), "replaces whole modules"),
    "embedding": (peft.LoraConfig(target_modules=[*TARGETS, "word_embeddings"]), "changes the embedding"),
    "tokens": (peft.LoraConfig(target_modules=TARGETS, trainable_token_indices={"word_embeddings": [3]}), "trains token rows"),
    "pissa": (peft.LoraConfig(target_modules=TARGETS, init_lora_weights="pissa"), "began as 'pissa', which changed the base's own"),
    "fast pissa": (peft.LoraConfig(target_modules=TARGETS, init_lora_weights="pissa_niter_4"), "began as 'pissa_niter_4'"),
    "olora": (peft.LoraConfig(target_modules=TARGETS, init_lora_weights="olora"), "began as 'olora'"),
}


@pytest.mark.parametrize("case", sorted(FOREIGN))
def test_what_peft_does_otherwise_is_refused(case: str, tmp_path: Path) -> None:
    config, message = FOREIGN[case]
    peft_adapter(tmp_path, config)
    found = refused(tmp_path)
    assert message in found
    assert "which cannot be served exactly" in found


def test_weights_that_no_formula_uses_are_refused(tmp_path: Path) -> None:
    """A resized embedding is saved beside the LoRA; left out, the vectors would be others."""
    row = {"base_model.model.embeddings.word_embeddings.weight": torch.ones(99, 64)}
    assert "holds 'base_model.model.embeddings.word_embeddings.weight'" in refused(write(tmp_path, LORA, PAIR | row))
    peft_adapter(tmp_path / "ia3", peft.IA3Config(target_modules=["key", "value"], feedforward_modules=[]))
    file = tmp_path / "ia3" / "adapter_model.safetensors"
    save_file(load_file(file) | row, file)
    assert "holds 'base_model.model.embeddings.word_embeddings.weight'" in refused(tmp_path / "ia3")


@pytest.mark.parametrize("start", ["gaussian", "orthogonal", False])
def test_other_beginnings_change_nothing(start: Any, tmp_path: Path) -> None:
    theirs = peft_adapter(tmp_path, peft.LoraConfig(target_modules=TARGETS, r=4, init_lora_weights=start))
    assert (in_bank(tmp_path) - theirs).abs().max() <= 1e-5


@pytest.mark.parametrize("rslora", [False, True])
def test_ranks_and_alphas_by_pattern(rslora: bool, tmp_path: Path) -> None:
    config = peft.LoraConfig(
        target_modules=["query", "key", "value", "dense"],
        r=3,
        lora_alpha=7,
        use_rslora=rslora,
        rank_pattern={"query": 5, r"layer\.1\.attention\.self\.(key|value)": 1, "attention.output.dense": 8},
        alpha_pattern={r"encoder\.layer\.0\.attention\.self\.value": 31, "ery": 9999, r"^encoder.layer.1.*dense": 2, "dense": 11},
    )
    theirs = peft_adapter(tmp_path, config)
    assert (in_bank(tmp_path) - theirs).abs().max() <= 1e-5
    ranks = {name.rsplit(".", 1)[-1] + name.split(".")[2]: len(low.down) for name, low in read_adapter(tmp_path).low_rank.items()}
    assert ranks["query0"] == ranks["query1"] == 5
    assert (ranks["key0"], ranks["key1"]) == (3, 1)


def test_ia3_scales_inputs_where_peft_does(tmp_path: Path) -> None:
    """peft takes `feedforward_modules` for bare endings: 'o_proj' is one of 'proj'."""
    config = peft.IA3Config(target_modules=r".*\.(k_proj|v_proj|o_proj)", feedforward_modules=r".*\.o_proj")
    theirs = peft_adapter(tmp_path / "pattern", config, "llama")
    assert (in_bank(tmp_path / "pattern", "llama") - theirs).abs().max() <= 1e-5
    config = peft.IA3Config(target_modules=["k_proj", "o_proj", "proj"], feedforward_modules=["proj"])
    theirs = peft_adapter(tmp_path / "ending", config, "llama")
    assert all(scale.on_input for scale in read_adapter(tmp_path / "ending").scales.values())
    assert (in_bank(tmp_path / "ending", "llama") - theirs).abs().max() <= 1e-5


def test_saved_with_a_head_or_in_half_precision(tmp_path: Path) -> None:
    theirs = peft_adapter(tmp_path, peft.LoraConfig(target_modules=TARGETS, r=4))
    file = tmp_path / "adapter_model.safetensors"
    whole = load_file(file)
    save_file({key.replace("base_model.model.", "base_model.model.bert."): value for key, value in whole.items()}, file)
    assert (in_bank(tmp_path) - theirs).abs().max() <= 1e-5
    save_file({key: value.bfloat16() for key, value in whole.items()}, file)
    assert (in_bank(tmp_path) - theirs).abs().max() <= 2e-2
    assert all(low.down.dtype == torch.float32 for low in read_adapter(tmp_path).low_rank.values())


# adapters --------------------------------------------------------------------------------------------------------------

OPTIONS = {
    "architecture": None,
    "non_linearity": "relu",
    "original_ln_before": True,
    "original_ln_after": True,
    "residual_before_ln": True,
    "is_parallel": False,
    "scaling": 1.0,
    "reduction_factor": 16,
}
PLACE = "encoder.layer.1.output.adapters.mine"
PARTS = {
    f"{PLACE}.adapter_down.0.weight": torch.ones(4, 64),
    f"{PLACE}.adapter_down.0.bias": torch.ones(4),
    f"{PLACE}.adapter_up.weight": torch.ones(64, 4),
    f"{PLACE}.adapter_up.bias": torch.ones(64),
}


def bottleneck(folder: Path, changes: dict[str, Any] | None = None, tensors: dict[str, Tensor] | None = None) -> Path:
    config = {"config": OPTIONS | (changes or {}), "name": "mine", "model_type": "bert", "hidden_size": 64}
    return write(folder, config, PARTS if tensors is None else tensors, "adapter.safetensors")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "prefix_tuning"}, "is of the method 'prefix_tuning'"),
        ({"architecture": "lora"}, "is of the method 'lora'"),
        ({"ln_before": True}, "sets ln_before"),
        ({"ln_after": True}, "sets ln_after"),
        ({"use_gating": True}, "sets use_gating"),
        ({"phm_layer": True}, "sets phm_layer"),
        ({"inv_adapter": "nice"}, "sets inv_adapter"),
        ({"cross_adapter": True}, "sets cross_adapter"),
        ({"adapter_residual_before_ln": True}, "sets adapter_residual_before_ln"),
        ({"original_ln_after": False}, "switches original_ln_after off"),
        ({"residual_before_ln": "post_add"}, "sets residual_before_ln to post_add"),
        ({"residual_before_ln": False}, "sets residual_before_ln to False"),
        ({"non_linearity": None, "scaling": "learned"}, "malformed"),
        ({"scaling": "channel"}, "malformed"),
    ],
)
def test_bottlenecks_that_cannot_be_served(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    found = refused(bottleneck(tmp_path, changes))
    assert message in found
    assert "which cannot be served exactly" in found or "malformed" in found


def test_bottleneck_tensors(tmp_path: Path) -> None:
    assert read_adapter(bottleneck(tmp_path)).bottlenecks.keys() == {(1, "output")}
    lost = {key: value for key, value in PARTS.items() if "adapter_up.weight" not in key}
    assert "lacks the tensor or setting 'adapter_up.weight'" in refused(bottleneck(tmp_path, tensors=lost))
    gate = {f"{PLACE}.gate.weight": torch.ones(1, 64), "encoder.layer.1.attention.self.prefix": torch.ones(3)}
    assert "holds 'encoder.layer.1.attention.self.prefix', which cannot be served" in refused(bottleneck(tmp_path, tensors=PARTS | gate))
    no_activation = {key: value for key, value in OPTIONS.items() if key != "non_linearity"}
    write(tmp_path, {"config": no_activation}, PARTS, "adapter.safetensors")
    assert "lacks the tensor or setting 'non_linearity'" in refused(tmp_path)
    write(tmp_path, {"config": "pfeiffer"}, PARTS, "adapter.safetensors")
    assert "malformed" in refused(tmp_path)


@pytest.mark.parametrize(
    ("changes", "form"),
    [({}, "after"), ({"original_ln_before": False}, "before"), ({"is_parallel": True, "residual_before_ln": "x"}, "parallel")],
)
def test_forms_and_scalings(changes: dict[str, Any], form: str, tmp_path: Path) -> None:
    one = read_adapter(bottleneck(tmp_path, changes | {"scaling": 4.0})).bottlenecks[1, "output"]
    assert (one.form, one.activation, float(one.up[0, 0]), float(one.up_bias[0])) == (form, "relu", 4.0, 4.0)
    learned = PARTS | {f"{PLACE}.scaling": torch.tensor([3.0])}
    one = read_adapter(bottleneck(tmp_path, changes | {"scaling": "learned"}, learned)).bottlenecks[1, "output"]
    assert bool((one.up == 3).all() and (one.up_bias == 3).all())
    by_channel = PARTS | {f"{PLACE}.scaling": torch.arange(64.0)}
    one = read_adapter(bottleneck(tmp_path, changes | {"scaling": "channel"}, by_channel)).bottlenecks[1, "output"]
    assert torch.equal(one.up[:, 2], torch.arange(64.0))
    assert torch.equal(one.up_bias, torch.arange(64.0))


# merging ---------------------------------------------------------------------------------------------------------------

CONFIGS = {
    "lora": lambda targets: peft.LoraConfig(r=5, lora_alpha=9, target_modules=targets),
    "rslora": lambda targets: peft.LoraConfig(r=5, lora_alpha=9, target_modules=targets, use_rslora=True),
    "dora": lambda targets: peft.LoraConfig(r=5, lora_alpha=9, target_modules=targets, use_dora=True),
    "ia3": lambda targets: peft.IA3Config(target_modules=targets, feedforward_modules=targets[-1:]),
}
LINEAR = {
    "bert": ["query", "key", "value", "intermediate.dense", "output.dense"],
    "gpt2": ["c_attn", "c_fc", "c_proj"],
    "llama": ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"],
}


@pytest.mark.parametrize("kind", sorted(CONFIGS))
@pytest.mark.parametrize("family", sorted(LINEAR))
def test_merged_is_the_adapter_at_work(family: str, kind: str, tmp_path: Path) -> None:
    theirs = peft_adapter(tmp_path, CONFIGS[kind](LINEAR[family]), family)
    model = body(family)
    before = outputs(model)
    merge(model, read_adapter(tmp_path))
    assert (outputs(model) - theirs).abs().max() <= 1e-5
    assert (theirs - before).abs().max() > 1e-2
    assert model.state_dict().keys() == body(family).state_dict().keys()


def test_what_has_no_merged_form_is_refused(tmp_path: Path) -> None:
    one = Bottleneck(torch.ones(2, 64), torch.ones(2), torch.ones(64, 2), torch.ones(64), "relu", "after")
    model = body()
    before = outputs(model)
    with pytest.raises(ModelError, match="bottleneck adapters cannot be merged: there is a non-linearity between their two products"):
        merge(model, AdapterWeights(bottlenecks={(0, "output"): one}))
    with pytest.raises(ModelError, match="'bert' here does not have"):
        merge(model, AdapterWeights(low_rank={"h.0.mlp": LowRank(torch.ones(2, 64), torch.ones(64, 2))}))
    assert torch.equal(outputs(model), before)


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_nothing_is_merged_into_a_quantised_base(bits: str, tmp_path: Path) -> None:
    body().save_pretrained(tmp_path / "base")
    peft_adapter(tmp_path / "x", CONFIGS["lora"](LINEAR["bert"]))
    model = load_model(tmp_path / "base", False, quantization_options(bits, "cpu"))
    message = "is quantised, and merging into quantised weights rounds away what the adapter learnt Merge into the unquantised base"
    with pytest.raises(ModelError, match=message):
        merge(model, read_adapter(tmp_path / "x"))


def test_merged_encoder_of_a_store(tiny: Path, tmp_path: Path) -> None:
    from langadapt import Encoder
    from langadapt.artifacts import encoder as encoders

    (tmp_path / "base").symlink_to(tiny)
    folder = tmp_path / "adapted"
    loaded = encoders.load(tiny, mlm_head=False)
    torch.manual_seed(2)
    config = peft.LoraConfig(r=4, target_modules=["query", "value"], use_dora=True, init_lora_weights=False)
    peft.get_peft_model(loaded.model, config).save_pretrained(folder)
    encoders.save_settings(loaded, folder)
    record = adapters.AdapterRecord({"use": "lora"}, "peft", adapters.Base("0" * 64, "bert", 1, artifact="base"), trained=1)
    adapters.save(record, folder)
    assert servable(folder)
    whole = merged(folder)
    texts = ["एक माणूस गिटार वाजवत आहे.", "गव्हाची किंमत वाढली."]
    encoders.save(whole, tmp_path / "whole")
    alone = Encoder.load(tiny, device="cpu")
    (folder / "adapter.json").rename(tmp_path / "adapter.json")
    alone.add_adapter("x", folder)
    assert abs(Encoder.load(tmp_path / "whole", device="cpu").encode(texts) - alone.encode(texts, adapter="x")).max() <= 1e-5
    assert abs(alone.encode(texts, adapter="x") - alone.encode(texts)).max() > 1e-3

    import dataclasses

    adapters.save(dataclasses.replace(record, roles=("query", "document")), folder)
    with pytest.raises(ModelError, match="a module for each of query, document, so there is no one merged encoder"):
        merged(folder)
    assert not servable(folder)  # the roles' folders are absent
