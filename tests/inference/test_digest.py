"""The digest of a base: the same for every layout of the same body, another for other weights."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as T
from safetensors.torch import load_file, save_file

from langadapt import Encoder
from langadapt.artifacts import adapter as adapters
from langadapt.errors import ModelError
from langadapt.modeling.digest import weights_digest

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = {"vocab_size": 99, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128, "pad_token_id": 0}
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
BLOOM = {"vocab_size": 99, "hidden_size": 64, "n_layer": 2, "n_head": 2}
DISTIL = {"vocab_size": 99, "dim": 64, "n_layers": 2, "n_heads": 2, "hidden_dim": 128}
HEADS: dict[str, tuple[Callable[[], Any], Any, list[Any]]] = {
    "bert": (
        lambda: T.BertConfig(**SIZES),
        T.BertModel,
        [T.BertForMaskedLM, T.BertForPreTraining, T.BertForSequenceClassification, T.BertForTokenClassification],
    ),
    "xlmr": (
        lambda: T.XLMRobertaConfig(**SIZES),
        T.XLMRobertaModel,
        [T.XLMRobertaForMaskedLM, T.XLMRobertaForSequenceClassification, T.XLMRobertaForQuestionAnswering],
    ),
    "electra": (lambda: T.ElectraConfig(**SIZES, embedding_size=32), T.ElectraModel, [T.ElectraForPreTraining, T.ElectraForMaskedLM]),
    "modernbert": (lambda: T.ModernBertConfig(**SIZES | SPECIAL), T.ModernBertModel, [T.ModernBertForMaskedLM]),
    "llama": (lambda: T.LlamaConfig(**SIZES), T.LlamaModel, [T.LlamaForCausalLM, T.LlamaForSequenceClassification]),
    "bloom": (lambda: T.BloomConfig(**BLOOM), T.BloomModel, [T.BloomForCausalLM]),
    "gpt2": (lambda: T.GPT2Config(vocab_size=99, n_embd=64, n_layer=2, n_head=2), T.GPT2Model, [T.GPT2LMHeadModel]),
    "distilbert": (lambda: T.DistilBertConfig(**DISTIL), T.DistilBertModel, [T.DistilBertForMaskedLM]),
}


def body_of(family: str) -> Any:
    """A body whose weights are exact in half precision."""
    config, kind, _ = HEADS[family]
    torch.manual_seed(11)
    model = kind(config())
    for weight in model.parameters():
        weight.data = weight.data.half().float()
    return model


@pytest.mark.parametrize("family", sorted(HEADS))
def test_one_body_in_many_layouts(family: str, tmp_path: Path) -> None:
    config, kind, heads = HEADS[family]
    body = body_of(family)
    body.save_pretrained(tmp_path / "body")
    digest = weights_digest(tmp_path / "body")
    assert len(digest) == 64
    for i, head in enumerate(heads):
        torch.manual_seed(i)
        model = head(config())
        left = model.base_model.load_state_dict(body.state_dict(), strict=False)
        assert not left.missing_keys
        model.save_pretrained(tmp_path / head.__name__)
        assert weights_digest(tmp_path / head.__name__) == digest, head.__name__
    body.save_pretrained(tmp_path / "shards", max_shard_size="60KB")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 2
    assert weights_digest(tmp_path / "shards") == digest
    body.half().save_pretrained(tmp_path / "half")
    assert load_file(tmp_path / "half" / "model.safetensors").popitem()[1].dtype == torch.float16
    assert weights_digest(tmp_path / "half") == digest
    if family in ("bert", "xlmr"):
        kind.from_pretrained(tmp_path / "body", add_pooling_layer=False).save_pretrained(tmp_path / "no-pooler")
        assert weights_digest(tmp_path / "no-pooler") == digest


@pytest.mark.parametrize("family", ["bert", "modernbert", "bloom"])
def test_any_change_of_a_weight_changes_it(family: str, tmp_path: Path) -> None:
    body = body_of(family)
    body.save_pretrained(tmp_path)
    before = weights_digest(tmp_path)
    file = tmp_path / "model.safetensors"
    whole = load_file(file)
    for name in sorted(whole)[::7]:
        if "pooler" in name:
            continue
        changed = {key: value.clone() for key, value in whole.items()}
        changed[name].view(-1)[-1] += 2e-7
        save_file(changed, file, metadata={"format": "pt"})
        assert weights_digest(tmp_path) != before, name
    one, other = [name for name in sorted(whole) if name.endswith("weight") and whole[name].shape == (64, 64)][:2] or sorted(whole)[:2]
    save_file(whole | {one: whole[other], other: whole[one]}, file, metadata={"format": "pt"})
    assert weights_digest(tmp_path) != before, "two weights in each other's place"
    save_file(whole, file, metadata={"format": "pt"})
    assert weights_digest(tmp_path) == before


def test_other_files_beside_the_weights_do_not_count(tmp_path: Path) -> None:
    """A Hub folder may hold the weights in other precisions too."""
    body_of("bert").save_pretrained(tmp_path)
    before = weights_digest(tmp_path)
    whole = load_file(tmp_path / "model.safetensors")
    save_file({name: value + 1 for name, value in whole.items()}, tmp_path / "model_bf16.safetensors")
    save_file({"stray": torch.ones(3)}, tmp_path / "model-of-old.safetensors")
    assert weights_digest(tmp_path) == before


def test_old_names_of_norms(tmp_path: Path) -> None:
    body = body_of("bert")
    body.save_pretrained(tmp_path)
    before = weights_digest(tmp_path)
    whole = load_file(tmp_path / "model.safetensors")
    old = {key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v for key, v in whole.items()}
    assert old.keys() != whole.keys()
    save_file(old, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert weights_digest(tmp_path) == before
    assert torch.equal(T.BertModel.from_pretrained(tmp_path).embeddings.LayerNorm.weight, body.embeddings.LayerNorm.weight)


def test_without_a_known_configuration(tmp_path: Path) -> None:
    body = body_of("bert")
    body.save_pretrained(tmp_path / "body")
    masked = T.BertForMaskedLM(T.BertConfig(**SIZES))
    masked.bert.load_state_dict(body.state_dict(), strict=False)
    masked.save_pretrained(tmp_path / "masked")
    digest = weights_digest(tmp_path / "body")
    (tmp_path / "body" / "config.json").unlink()
    (tmp_path / "masked" / "config.json").write_text('{"model_type": "never-heard-of"}')
    assert weights_digest(tmp_path / "body") == digest == weights_digest(tmp_path / "masked")


def test_what_holds_no_weights(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"{tmp_path}: there is no model.safetensors"):
        weights_digest(tmp_path)
    body_of("bert").save_pretrained(tmp_path / "shards", max_shard_size="60KB")
    cut = sorted((tmp_path / "shards").glob("model-*.safetensors"))[1]
    cut.write_bytes(cut.read_bytes()[:-10])
    with pytest.raises(ModelError, match=f"{cut.name}: is truncated"):
        weights_digest(tmp_path / "shards")
    cut.unlink()
    with pytest.raises(ModelError, match=f"there is no {cut.name}"):
        weights_digest(tmp_path / "shards")
    (tmp_path / "shards" / "model.safetensors.index.json").write_text("{")
    with pytest.raises(ModelError, match="index.json: is truncated or no JSON"):
        weights_digest(tmp_path / "shards")


# what the digest is for --------------------------------------------------------------------------------------------------


def adapter_for(tiny: Path, folder: Path, digest: str) -> Path:
    """A released adapter of the small encoder, as training writes it."""
    import peft

    from langadapt.artifacts import encoder as encoders

    loaded = encoders.load(tiny, mlm_head=False)
    torch.manual_seed(1)
    model = peft.get_peft_model(loaded.model, peft.LoraConfig(r=2, target_modules=["query", "value"], init_lora_weights=False))
    model.eval().save_pretrained(folder)
    encoders.save_settings(loaded, folder)
    base = adapters.Base(digest=digest, model_type="bert", parameters=7, origin="someone/their-encoder")
    adapters.save(adapters.AdapterRecord({"use": "lora"}, "peft", base, trained=7), folder)
    return folder


def test_an_encoder_takes_adapters_of_its_own_base_alone(tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = adapter_for(tiny, tmp_path / "fits", weights_digest(tiny))
    encoder = Encoder.load(tiny, device="cpu")
    encoder.add_adapter("fits", folder)
    assert "base digest" not in caplog.text
    changed = encoder.encode(["मुले खेळत आहेत."], adapter="fits") - encoder.encode(["मुले खेळत आहेत."])
    assert abs(changed).max() > 1e-3

    foreign = adapter_for(tiny, tmp_path / "foreign", "0" * 64)
    mine = weights_digest(tiny)[:12]
    with pytest.raises(ModelError, match=rf"foreign: the adapter is for another base \(someone/their-encoder, digest 0{{12}}…\).*{mine}"):
        encoder.add_adapter("foreign", foreign)
    assert encoder.adapters == ["fits"]

    # The same encoder with one number changed is another base.
    other = tmp_path / "other"
    shutil.copytree(tiny, other)
    weights = load_file(other / "model.safetensors")
    next(value for name, value in sorted(weights.items()) if name.endswith("key.weight"))[0, 0] += 1e-3
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="for another base"):
        Encoder.load(other, device="cpu").add_adapter("fits", folder)

    record = adapters.load(folder)
    adapters.save(dataclasses.replace(record, schema=2), folder)
    with pytest.raises(ModelError, match="adapter.json: adapter.json has schema 2|adapter.json.*schema 2"):
        encoder.add_adapter("again", folder)
    (folder / "adapter.json").unlink()
    encoder.add_adapter("again", folder)
    assert "states no base digest" in caplog.text
    assert (encoder.encode(["मुले"], adapter="again") == encoder.encode(["मुले"], adapter="fits")).all()


def test_another_pooler_is_refused(tiny: Path, tmp_path: Path) -> None:
    folder = adapter_for(tiny, tmp_path / "x", weights_digest(tiny))
    stated = json.loads((folder / "encoder.json").read_text())
    assert stated["pooler"] == {"use": "mean"}
    with pytest.raises(ModelError, match="trained with the pooler mean, the encoder has cls Load the base with pooler='mean'"):
        Encoder.load(tiny, device="cpu", pooler="cls").add_adapter("x", folder)
