"""Folders of checkpoints and adapters that others wrote: obeyed, or refused aloud; never other weights, other code or no numbers."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import matrix  # type: ignore[import-not-found]
import numpy as np
import pytest
from files import Change, header_damage, json_damage, pipe, set_json, set_value, tensors, write  # type: ignore[import-not-found]

from langadapt.errors import LangadaptError, ModelError
from langadapt.inference.encoder import Encoder

pytestmark = pytest.mark.usefixtures("one_thread")

LONG = " ".join(["the quick brown fox jumps over the lazy dog"] * 20)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "bert"
    matrix.save("bert", folder)
    return folder


@pytest.fixture(scope="module")
def expected(base: Path) -> np.ndarray:
    return Encoder.load(base, device="cpu").encode(matrix.TEXTS)


@pytest.fixture
def folder(base: Path, tmp_path: Path) -> Path:
    """A copy of a sound checkpoint, to be harmed."""
    shutil.copytree(base, tmp_path / "folder")
    return tmp_path / "folder"


def other_model(folder: Path) -> None:
    """Another base beside the folder, and an adapter_config.json that names it."""
    matrix.save("bert", folder.parent / "other")
    set_json("adapter_config.json", peft_type="LORA", base_model_name_or_path=str(folder.parent / "other"), r=4, lora_alpha=4)(folder)


REFUSED: dict[str, tuple[Change, str]] = {
    "an adapter's settings beside the weights": (other_model, "adapter_config.json lies beside the weights"),
    "weights of another folder": (
        set_json("config.json", transformers_weights="../other/model.safetensors"),
        "'transformers_weights' names",
    ),
    "code from the Hub for attention": (set_json("config.json", _attn_implementation="some/kernel"), "code from elsewhere"),
    "a million layers": (set_json("config.json", num_hidden_layers=1_000_000), "'num_hidden_layers' is 1,000,000"),
    "more layers than weights": (set_json("config.json", num_hidden_layers=7), "the weights hold 2 layers"),
    "fewer layers than weights": (set_json("config.json", num_hidden_layers=1), "no place for weights"),
    "a width of a million": (set_json("config.json", hidden_size=1_000_000), "'hidden_size' is 1,000,000"),
    "a width that is a text": (set_json("config.json", hidden_size="32"), "a whole number is meant"),
    "no architecture": (set_json("config.json", model_type=None), "config.json cannot be used"),
    "an unknown architecture": (set_json("config.json", model_type="no-such-model"), "config.json cannot be used"),
    "a list for a configuration": (write("config.json", b"[]"), "holds a list where an object is meant"),
    "a truncated configuration": (write("config.json", b'{"model_type": "be'), "truncated or no JSON"),
    "a configuration that is a pipe": (pipe("config.json"), "no config.json"),
    "a deep configuration": (write("config.json", b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}"), "nested more than 30 levels"),
    "a very deep configuration": (write("config.json", b'{"a": ' + b"[" * 10**5 + b"]" * 10**5 + b"}"), "nested too deeply"),
    "a weight that is no number": (tensors("model.safetensors", set_value("query.weight", float("nan"))), "are no numbers"),
    "an infinite weight": (tensors("model.safetensors", set_value("query.weight", float("inf"))), "are no numbers"),
    "a header larger than the file": (header_damage, "truncated or no safetensors"),
    "pickled weights": (
        lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
        "loading a pickle can run any code",
    ),
    "an index that is no index": (
        lambda folder: (shutil.move(folder / "model.safetensors", folder / "x"), write("model.safetensors.index.json", b"{}")(folder)),
        "has no 'weight_map'",
    ),
    "an index that leads outside": (
        lambda folder: (
            shutil.move(folder / "model.safetensors", folder.parent / "model.safetensors"),
            write("model.safetensors.index.json", b'{"weight_map": {"a": "../model.safetensors"}}')(folder),
        ),
        "names files outside its folder",
    ),
    "a tokenizer that is none": (write("tokenizer.json", b"{}"), "the tokenizer cannot be loaded"),
    "a length below zero": (set_json("encoder.json", max_length=-5), "its 'max_length' is -5"),
    "a length that is a text": (set_json("encoder.json", max_length="64"), "its 'max_length' is '64'"),
    "a prompt that is a number": (set_json("encoder.json", prompt=5), "its 'prompt' is 5"),
    "unit length that is a word": (set_json("encoder.json", normalize="no"), "its 'normalize' is 'no'"),
    "a pooler without a name": (set_json("encoder.json", pooler={}), "its 'pooler' names no component"),
    "an unknown pooler": (set_json("encoder.json", pooler={"use": "no-such"}), "there is no pooler 'no-such'"),
    "a setting nobody knows": (set_json("encoder.json", strange=1), "'strange'"),
    "a transform that is not there": (set_json("encoder.json", transforms=1), "transforms.safetensors"),
    "modules that lead outside": (
        write("modules.json", json.dumps([{"idx": 0, "path": "../x", "type": "sentence_transformers.models.Transformer"}]).encode()),
        "lies outside its folder",
    ),
    "modules of somebody else's code": (
        write("modules.json", json.dumps([{"idx": 0, "path": "", "type": "evil.module.Transformer"}]).encode()),
        "code from elsewhere",
    ),
    "modules that are no list": (write("modules.json", b"{}"), "is no list of modules"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_folder_that_cannot_be_trusted_is_refused(folder: Path, kind: str) -> None:
    change, message = REFUSED[kind]
    change(folder)
    with pytest.raises(LangadaptError) as caught:
        Encoder.load(folder, device="cpu").encode(matrix.TEXTS)
    assert message in str(caught.value)
    assert str(folder) in str(caught.value) or "pooler" in message


def test_what_chooses_nothing_changes_nothing(folder: Path, expected: np.ndarray) -> None:
    set_json("config.json", _attn_implementation="eager", auto_map={"AutoModel": "evil.Model"}, _name_or_path="/elsewhere")(folder)
    set_json("tokenizer_config.json", tokenizer_file="/etc/passwd", auto_map={"AutoTokenizer": ["evil.T", None]})(folder)
    (folder / "evil.py").write_text("raise SystemExit(9)")
    assert np.abs(Encoder.load(folder, device="cpu").encode(matrix.TEXTS) - expected).max() < 1e-6


def outcome(folder: Path, expected: np.ndarray) -> str:
    """``refused`` in plain words, ``same`` vectors, or ``other`` ones of finite numbers (a changed value may be meant)."""
    try:
        vectors = Encoder.load(folder, device="cpu").encode([*matrix.TEXTS, LONG])
    except LangadaptError as error:
        return "refused" if len(str(error)) < 4000 else "long"
    if not np.isfinite(vectors).all():
        return "no numbers"
    return "same" if np.abs(vectors[:-1] - expected).max() < 1e-5 else "other"


SETTINGS = ("config.json", "tokenizer_config.json", "tokenizer.json", "modules.json", "1_Pooling/config.json", "encoder.json")


def sentence_folder(folder: Path) -> None:
    kinds = ("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"} for i, (kind, path) in enumerate(kinds)
    ]
    write("modules.json", json.dumps(modules).encode())(folder)
    write("1_Pooling/config.json", json.dumps({"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}).encode())(folder)
    set_json("sentence_bert_config.json", max_seq_length=32, do_lower_case=False)(folder)


def harm_settings(base: Path, work: Path, seed: int, count: int, expected: np.ndarray) -> list[str]:
    found = []
    for name in SETTINGS:
        folder = work / "folder"
        shutil.copytree(base, folder)
        if name == "encoder.json":
            settings = {"pooler": {"use": "mean"}, "max_length": 32, "prompt": "", "normalizer": None, "normalize": False, "transforms": 0}
            write(name, json.dumps(settings).encode())(folder)
        elif name in ("modules.json", "1_Pooling/config.json"):
            sentence_folder(folder)
        sound = json.loads((folder / name).read_text(encoding="utf-8"))
        for _, value in json_damage(sound, seed, count):
            (folder / name).write_text(json.dumps(value), encoding="utf-8")
            found.append(outcome(folder, expected))
        shutil.rmtree(folder)
    return found


def test_settings_with_one_value_changed(base: Path, tmp_path: Path, expected: np.ndarray) -> None:
    found = harm_settings(base, tmp_path, 1, 12, expected)
    assert set(found) <= {"refused", "same", "other"}
    assert found.count("refused") > 10


@pytest.mark.hostile
def test_many_settings_with_one_value_changed(base: Path, tmp_path: Path, expected: np.ndarray) -> None:
    found = harm_settings(base, tmp_path, 2, 150, expected)
    assert len(found) == 150 * len(SETTINGS)
    assert set(found) <= {"refused", "same", "other"}


# sentence-transformers --------------------------------------------------------------------------------------------------

OBEYED: dict[str, Change] = {
    "maximum length in its own file": set_json("sentence_bert_config.json", max_seq_length=16),
    "maximum length in the tokenizer's settings": lambda folder: (
        set_json("sentence_bert_config.json", max_seq_length=None)(folder),
        set_json("tokenizer_config.json", model_max_length=12)(folder),
    ),
    "maximum length nowhere": lambda folder: (
        set_json("sentence_bert_config.json", max_seq_length=None)(folder),
        set_json("tokenizer_config.json", model_max_length=10**30)(folder),
    ),
    "an old name": lambda folder: (folder / "sentence_bert_config.json").rename(folder / "sentence_roberta_config.json"),
    "lower case": set_json("sentence_bert_config.json", do_lower_case=True, max_seq_length=32),
    "truncation on the left": set_json("tokenizer_config.json", truncation_side="left"),
    "a default prompt": set_json("config_sentence_transformers.json", prompts={"query": "two men ", "x": ""}, default_prompt_name="query"),
    "another similarity of unit vectors": set_json("config_sentence_transformers.json", similarity_fn_name="dot"),
    "prompts without a default": set_json("config_sentence_transformers.json", prompts={"query": "two men "}, default_prompt_name=None),
    "pooling by its new key": write("1_Pooling/config.json", json.dumps({"embedding_dimension": 32, "pooling_mode": "cls"}).encode()),
    "pooling by the largest": write("1_Pooling/config.json", b'{"word_embedding_dimension": 32, "pooling_mode_max_tokens": true}'),
    "pooling by weight": write("1_Pooling/config.json", b'{"word_embedding_dimension": 32, "pooling_mode_weightedmean_tokens": true}'),
    "pooling by the last": write("1_Pooling/config.json", b'{"word_embedding_dimension": 32, "pooling_mode_lasttoken": true}'),
}


def dense(folder: Path, activation: str = "torch.nn.modules.linear.Identity") -> None:
    import torch
    from safetensors.torch import save_file

    modules = json.loads((folder / "modules.json").read_text())
    modules.insert(2, {"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"})
    write("modules.json", json.dumps(modules).encode())(folder)
    settings = {"in_features": 32, "out_features": 8, "bias": True, "activation_function": activation}
    write("3_Dense/config.json", json.dumps(settings).encode())(folder)
    torch.manual_seed(0)
    save_file({"linear.weight": torch.randn(8, 32), "linear.bias": torch.randn(8)}, str(folder / "3_Dense" / "model.safetensors"))


def old_layout(folder: Path) -> None:
    (folder / "0_Transformer").mkdir()
    for path in list(folder.iterdir()):
        if path.is_file() and path.name not in ("modules.json", "config_sentence_transformers.json"):
            path.rename(folder / "0_Transformer" / path.name)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    write("modules.json", json.dumps(modules).encode())(folder)


OBEYED |= {"a dense layer": dense, "the transformer in a folder of its own": old_layout}

SAME_VECTORS = (
    "an old name",
    "another similarity of unit vectors",
    "prompts without a default",
    "the transformer in a folder of its own",
    "lower case",
)
"""Settings that change nothing for these texts."""

MIXED = [*matrix.TEXTS, LONG, "The CAT sat On the MAT"]


@pytest.mark.parametrize("kind", OBEYED)
def test_what_sentence_transformers_says_is_obeyed(folder: Path, kind: str) -> None:
    from sentence_transformers import SentenceTransformer

    sentence_folder(folder)
    before = Encoder.load(folder, device="cpu").encode(MIXED)
    OBEYED[kind](folder)
    ours = Encoder.load(folder, device="cpu").encode(MIXED)
    theirs = np.stack([SentenceTransformer(str(folder), device="cpu").encode([text])[0] for text in MIXED])
    assert np.abs(ours - theirs).max() < 2e-5
    if kind not in SAME_VECTORS:
        assert ours.shape != before.shape or np.abs(ours - before).max() > 1e-3  # the setting matters here


REFUSED_ALOUD: dict[str, tuple[Change, str]] = {
    "a dense layer with an activation": (lambda folder: dense(folder, "torch.nn.modules.activation.Tanh"), "activation"),
    "two poolings joined": (
        write("1_Pooling/config.json", b'{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}'),
        "pooling by cls_token and mean_tokens",
    ),
    "pooling by the root of the length": (write("1_Pooling/config.json", b'{"pooling_mode": "mean_sqrt_len_tokens"}'), "mean_sqrt_len"),
    "a prompt that is not pooled": (
        lambda folder: (
            set_json("config_sentence_transformers.json", prompts={"q": "two "}, default_prompt_name="q")(folder),
            set_json("1_Pooling/config.json", include_prompt=False)(folder),
        ),
        "left out of the pooling",
    ),
    "another similarity": (
        lambda folder: (
            set_json("config_sentence_transformers.json", similarity_fn_name="dot")(folder),
            write("modules.json", json.dumps(json.loads((folder / "modules.json").read_text())[:2]).encode())(folder),
        ),
        "by 'dot'",
    ),
    "another task": (set_json("sentence_bert_config.json", transformer_task="fill-mask"), "'transformer_task'"),
    "a layer norm": (
        lambda folder: write(
            "modules.json",
            (folder / "modules.json").read_bytes().replace(b"Normalize", b"LayerNorm"),
        )(folder),
        "'LayerNorm' is not known here",
    ),
    "a prompt that is not there": (
        set_json("config_sentence_transformers.json", prompts={}, default_prompt_name="q"),
        "none of its prompts",
    ),
}


@pytest.mark.parametrize("kind", REFUSED_ALOUD)
def test_what_is_not_obeyed_is_refused_aloud(folder: Path, kind: str) -> None:
    sentence_folder(folder)
    change, message = REFUSED_ALOUD[kind]
    change(folder)
    with pytest.raises(ModelError, match=message):
        Encoder.load(folder, device="cpu")


def test_a_text_is_cut_at_the_position_table(folder: Path) -> None:
    set_json("encoder.json", max_length=512)(folder)
    encoder = Encoder.load(folder, device="cpu")
    assert encoder.settings.max_length == 66
    encoder.encode([LONG])
    assert encoder.stats.truncated == 1


def test_a_tokenizer_longer_than_the_matrix_is_refused(folder: Path) -> None:
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(str(folder))
    words.add_tokens(["zzzz"])
    words.save_pretrained(str(folder))
    with pytest.raises(ModelError, match=r"the tokenizer has \d+ entries, the embedding matrix \d+ rows"):
        Encoder.load(folder, device="cpu")


@pytest.mark.parametrize("names", [["BertForPreTraining"], None, ["BertModel"], ["BertForMaskedLM"]])
def test_a_pretrained_head_is_kept_whatever_the_configuration_calls_it(tmp_path: Path, names: Any) -> None:
    import torch

    from langadapt.artifacts import encoder as encoders

    matrix.save("bert", tmp_path / "one", head=True)
    set_json("config.json", architectures=names)(tmp_path / "one")
    loaded = encoders.load(tmp_path / "one")
    saved = encoders.load(tmp_path / "one", mlm_head=True)
    assert torch.equal(loaded.model.cls.predictions.bias, saved.model.cls.predictions.bias)  # type: ignore[union-attr]
    assert not any(getattr(weight, "fresh", False) for weight in loaded.model.parameters())


# adapters ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA that peft saved."""
    import peft
    import torch
    from transformers import AutoModel

    model = peft.get_peft_model(AutoModel.from_pretrained(str(base)), peft.LoraConfig(r=2, target_modules=["query", "value"]))
    torch.manual_seed(0)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data.add_(0.1 * torch.randn_like(weight))
    folder = tmp_path_factory.mktemp("adapter") / "lora"
    model.save_pretrained(str(folder))
    return folder


@pytest.fixture
def lora(adapter: Path, tmp_path: Path) -> Path:
    shutil.copytree(adapter, tmp_path / "lora")
    return tmp_path / "lora"


HARM: dict[str, tuple[Change, str]] = {
    "an infinite scaling": (write("adapter_config.json", b'{"peft_type": "LORA", "r": 2, "lora_alpha": Infinity}'), "which is no number"),
    "a scaling beyond numbers": (write("adapter_config.json", b'{"peft_type": "LORA", "r": 2, "lora_alpha": 1e999}'), "which is no number"),
    "a weight that is no number": (tensors("adapter_model.safetensors", set_value("lora_A.weight", float("nan"))), "are no numbers"),
    "settings that are a list": (write("adapter_config.json", b"[]"), "holds a list"),
    "settings that are cut": (write("adapter_config.json", b'{"peft_type": "LO'), "truncated or no JSON"),
    "a scaling that is a text": (set_json("adapter_config.json", lora_alpha="four"), "malformed"),
    "a pickle": (
        lambda folder: (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin"),
        "use_safetensors=True",
    ),
}


@pytest.mark.parametrize("kind", HARM)
def test_a_harmed_adapter_is_refused_and_the_base_serves_on(base: Path, lora: Path, kind: str, expected: np.ndarray) -> None:
    change, message = HARM[kind]
    change(lora)
    encoder = Encoder.load(base, device="cpu")
    with pytest.raises(ModelError, match=message):
        encoder.add_adapter("one", lora)
    assert np.abs(encoder.encode(matrix.TEXTS) - expected).max() < 1e-6
    assert encoder.adapters == []


def test_adapter_settings_with_one_value_changed(base: Path, lora: Path) -> None:
    encoder = Encoder.load(base, device="cpu")
    sound = json.loads((lora / "adapter_config.json").read_text())
    words = []
    for i, (_, value) in enumerate(json_damage(sound, 3, 60)):
        (lora / "adapter_config.json").write_text(json.dumps(value))
        try:
            encoder.add_adapter(f"a{i}", lora)
            assert np.isfinite(encoder.encode(matrix.TEXTS, adapter=f"a{i}")).all()
            words.append("served")
        except LangadaptError:
            words.append("refused")
    assert {"served", "refused"} == set(words)


def test_an_adapter_is_replaced_in_one_step(base: Path, lora: Path, tmp_path: Path) -> None:
    shutil.copytree(lora, tmp_path / "second")
    tensors("adapter_model.safetensors", set_value("lora_B.weight", 3.0))(tmp_path / "second")
    encoder = Encoder.load(base, device="cpu")
    encoder.add_adapter("one", lora)
    first = encoder.encode(matrix.TEXTS, adapter="one")
    with pytest.raises(ModelError, match="'one'"):
        encoder.add_adapter("one", tmp_path / "second")
    encoder.add_adapter("one", tmp_path / "second", replace=True)
    second = encoder.encode(matrix.TEXTS, adapter="one")
    assert np.abs(first - second).max() > 1e-3
    encoder.add_adapter("new", lora, replace=True)  # nothing to replace: it is added
    assert np.abs(encoder.encode(matrix.TEXTS, adapter="new") - first).max() < 1e-6


@pytest.mark.parametrize(
    "texts", [None, 5, {"a"}, {"a": 1}, (text for text in "ab"), b"ab", "ab", ["a", 5]], ids=lambda one: type(one).__name__
)
def test_what_is_no_list_of_texts_is_refused(base: Path, texts: Any) -> None:
    with pytest.raises(LangadaptError):
        Encoder.load(base, device="cpu").encode(texts)


@pytest.mark.parametrize("name", [5, None, "", ("a",)])
def test_an_adapters_name_is_a_text(base: Path, lora: Path, name: Any) -> None:
    with pytest.raises(ModelError, match="called by a text"):
        Encoder.load(base, device="cpu").add_adapter(name, lora)


def test_a_foreign_adapter_is_no_encoder(lora: Path) -> None:
    with pytest.raises(ModelError, match="add_adapter"):
        Encoder.load(lora, device="cpu")


def test_random_bytes_are_no_checkpoint(folder: Path) -> None:
    rng = random.Random(0)
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        kept = (folder / name).read_bytes()
        for _ in range(5):
            (folder / name).write_bytes(rng.randbytes(200))
            with pytest.raises(LangadaptError):
                Encoder.load(folder, device="cpu")
        (folder / name).write_bytes(kept)
