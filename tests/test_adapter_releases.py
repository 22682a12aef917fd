"""Adapters released alone: whatever their form, the card says what works, and what it says is run here as it stands."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from langadapt import Encoder
from langadapt.artifacts import adapter as adapters
from langadapt.artifacts import encoder as encoders
from langadapt.contracts.plan import Request
from langadapt.errors import ModelError
from langadapt.files import read_json
from langadapt.running.build import build
from langadapt.running.runner import Outcome

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore::UserWarning")]

RECIPE = """recipe: forms
summary: A few steps of an adaptation.
stages:
  base:    {do: load, source: $lang.encoder, max_length: 24}
  pairs:   {do: pair, source: {use: retrieval, data: $lang.pairs}}
  adapter: {do: train, encoder: base, data: pairs, objective: multiple-negatives, adaptation: ADAPTATION, steps: 3, batch_size: 3,
            learning_rate: 1e-2, precision: fp32}
  scores:  {do: evaluate, encoders: [base, adapter], evaluators: [{use: retrieval, data: $lang.pairs}]}
  release: {do: export, encoder: adapter, scores: scores, exporters: [adapter]}
"""
ROWS = [(f"What is {word}?", f"It is what people call {word}.") for word in ("rain", "bread", "a river", "salt", "a horse", "wool")]
TEXTS = ["What is salt?", "A horse runs by the river.", ""]
Make = Callable[..., Outcome]


@pytest.fixture(scope="module")
def make(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Build an adaptation on an encoder of any architecture; builds share a store."""
    folder = tmp_path_factory.mktemp("forms")
    (folder / "pairs.tsv").write_text("query\tpassage\n" + "".join(f"{a}\t{b}\n" for a, b in ROWS), encoding="utf-8")

    def builder(name: str, adaptation: str, base: Path = tiny) -> Outcome:
        recipe = folder / f"{name}.yaml"
        recipe.write_text(RECIPE.replace("ADAPTATION", adaptation), encoding="utf-8")
        asked = Request((str(recipe),), "en", None, base=str(base), resources={"pairs": (str(folder / "pairs.tsv"),)})
        return build(asked, store=folder / "store", out=folder / name, quiet=True, device="cpu")

    return builder


@pytest.fixture(scope="module")
def members(make: Make) -> list[str]:
    """Two released bottlenecks."""
    found = [make(f"member{k}", f"{{use: bottleneck, dropout: 0.{k}}}") for k in (0, 1)]
    return [str(outcome.release) for outcome in found]


def artifact(outcome: Outcome) -> Path:
    return outcome.run_dir.parent / "store" / "objects" / outcome.plan.stage("adapter").key


def run_card(folder: Path, base: Path) -> tuple[Any, list[dict[str, Any]]]:
    """Run every block of code of a card with its placeholders filled; what each left."""
    blocks = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.S)
    assert blocks
    left = []
    for block in blocks:
        names: dict[str, Any] = {}
        filled = block.replace("PATH_OR_HUB_ID_OF_THE_BASE", str(base)).replace("PATH_OF_THIS", str(folder))
        exec(compile(filled.replace('["…"]', repr(TEXTS)), "card", "exec"), names)
        left.append(names)
    return blocks, left


def pooled(model: Any, base: Path) -> np.ndarray:
    """Means of a model's states, text by text, under the encoder's own tokenizer."""
    from langadapt.training.tokenized import tokenize_texts

    ids, _ = tokenize_texts(encoders.load(base, False).tokenizer, TEXTS, 24)
    with torch.no_grad():
        return np.stack([model.eval()(input_ids=torch.tensor([one])).last_hidden_state[0].mean(0).numpy() for one in ids])


FORMS = {
    "lora": "lora",
    "ia3": "ia3",
    "bottleneck": "bottleneck",
    "prefix": "{use: prefix, length: 3, flat: true}",
    "average": "{use: average, over: MEMBERS}",
    "stack": "{use: stack, over: MEMBERS}",
    "fuse": "{use: fuse, over: MEMBERS}",
    "semi-siamese": "semi-siamese",
}


@pytest.mark.adapters
@pytest.mark.parametrize("form", FORMS)
def test_what_a_card_says_works(form: str, make: Make, members: list[str], tiny: Path) -> None:
    """The served vectors, the library's and the training's own are the same."""
    outcome = make(form, FORMS[form].replace("MEMBERS", json.dumps(members)))
    assert outcome.release is not None
    trained = Encoder.load(artifact(outcome), device="cpu") if form not in ("prefix", "fuse") else None
    blocks, left = run_card(outcome.release, tiny)
    assert len(blocks) == (1 if trained is None else 2)
    if trained is None:
        assert "cannot serve it exactly and refuses it" in (outcome.release / "README.md").read_text(encoding="utf-8")
        encoder = Encoder.load(tiny, device="cpu")
        with pytest.raises(ModelError, match=r"which cannot be served exactly Load it with its own library"):
            encoder.add_adapter("mine", outcome.release)
    vectors = pooled(left[-1].get("model") or left[-1]["base"], tiny)
    plain = Encoder.load(tiny, device="cpu").encode(TEXTS)
    assert np.abs(vectors - plain).max() > 1e-3
    if trained is not None:
        served = left[0].get("vectors", left[0].get("query"))
        assert np.abs(served - vectors).max() <= 1e-5
        assert np.abs(served - trained.encode(TEXTS)).max() <= 1e-5


@pytest.mark.adapters
def test_architectures_that_are_scored_in_their_library(make: Make, tiny: Path, tmp_path: Path) -> None:
    """ALBERT shares one layer, and a bottleneck there is not served: the scores come from the library, and the card says so."""
    from tokenizers import Tokenizer
    from transformers import AlbertConfig, AlbertModel, DistilBertConfig, DistilBertModel

    size = Tokenizer.from_file(str(tiny / "tokenizer.json")).get_vocab_size()
    torch.manual_seed(3)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "embedding_size": 16}
    bodies = {
        "albert": AlbertModel(AlbertConfig(vocab_size=size, **shape), add_pooling_layer=False),
        "distilbert": DistilBertModel(DistilBertConfig(vocab_size=size, dim=32, n_layers=2, n_heads=2, hidden_dim=64)),
    }
    for name, model in bodies.items():
        folder = tmp_path / name
        model.save_pretrained(folder)
        for file in (*tiny.glob("tokenizer*"), *tiny.glob("special_tokens_map.json")):  # transformers 5 writes no map
            shutil.copy(file, folder)
        outcome = make(name, "bottleneck", folder)
        assert outcome.release is not None
        assert list(read_json(outcome.release / "scores.json")) == ["base", "adapter"]
        _, left = run_card(outcome.release, folder)
        assert len(left) == (1 if name == "albert" else 2), name
        if name == "distilbert":
            assert np.abs(left[0]["vectors"] - pooled(left[1]["base"], folder)).max() <= 1e-5
            encoder = Encoder.load(artifact(outcome), device="cpu")
            assert np.abs(left[0]["vectors"] - encoder.encode(TEXTS)).max() <= 1e-5


@pytest.mark.adapters
@pytest.mark.parametrize("use", ["stack", "fuse", "average"])
def test_members_of_another_base_are_refused(use: str, make: Make, members: list[str], tiny: Path, tmp_path: Path) -> None:
    """Of the same sizes: only the digest tells."""
    from safetensors.torch import load_file, save_file

    other = Path(shutil.copytree(tiny, tmp_path / "other"))
    tensors = load_file(other / "model.safetensors")
    tensors["encoder.layer.1.output.dense.weight"][3, 5] += 1e-6
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=f"{members[0]}: .*the adapter is for another base .*digest .*Build on adapters of this base"):
        make(f"other-{use}", f"{{use: {use}, over: {json.dumps(members)}}}", other)


# what an adapter brings ------------------------------------------------------------------------------------------------


def changed(release: Path, folder: Path, **settings: Any) -> Path:
    """A copy of a release with other settings."""
    shutil.copytree(release, folder)
    stated = read_json(folder / "encoder.json")
    (folder / "encoder.json").write_text(json.dumps({**stated, **settings}), encoding="utf-8")
    return folder


@pytest.mark.adapters
def test_an_adapter_cuts_texts_at_its_own_length(members: list[str], tiny: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Trained and scored at 24 tokens, it is served so on a base of 64."""
    long = "What is bread made of and who eats it where and when and why? " * 8
    encoder = Encoder.load(tiny, device="cpu")
    assert encoder.settings.max_length == 64
    encoder.add_adapter("mine", members[0])
    first = encoder.tokenizer.decode(encoder.tokenizer(long)["input_ids"][1:23])
    cut, whole, plain, short = encoder.encode([long, first, long, "OK"], adapter=["mine", "mine", None, "mine"])
    assert np.abs(cut - whole).max() <= 1e-5
    assert encoder.stats.truncated == 2
    assert encoder.stats.limits == (24, 64)
    assert "2 of 4 texts are longer than 24 or 64 tokens" in caplog.text
    assert np.abs(plain - encoder.encode([long])[0]).max() <= 1e-5
    assert np.isfinite(short).all()


@pytest.mark.adapters
def test_a_stack_reads_texts_as_its_members_do(members: list[str], tiny: Path, tmp_path: Path) -> None:
    encoder = Encoder.load(tiny, device="cpu")
    for name, prompt in (("a", "query: "), ("b", "query: "), ("c", "passage: ")):
        encoder.add_adapter(name, changed(Path(members[0]), tmp_path / name, prompt=prompt))
    encoder.stack_adapters("ab", ["a", "b"])
    with pytest.raises(ModelError, match="'a' and 'c' cannot be stacked: they read texts by another prompt"):
        encoder.stack_adapters("ac", ["a", "c"])
    plain = Encoder.load(tiny, device="cpu")
    for name in ("a", "b"):
        plain.add_adapter(name, changed(Path(members[0]), tmp_path / f"{name}-plain", prompt=""))
    plain.stack_adapters("ab", ["a", "b"])
    assert np.abs(encoder.encode(TEXTS, adapter="ab") - plain.encode([f"query: {t}" for t in TEXTS], adapter="ab")).max() <= 1e-5


@pytest.mark.adapters
def test_what_stands_beside_an_adapter_is_checked_before_it_is_added(members: list[str], tiny: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    encoder = Encoder.load(tiny, device="cpu")

    def refused(message: str, change: Callable[[Path], Any]) -> None:
        folder = Path(shutil.copytree(members[0], tmp_path / "bad"))
        change(folder)
        with pytest.raises(ModelError, match=message) as caught:
            encoder.add_adapter("bad", folder)
        assert str(folder) in str(caught.value.where)
        assert encoder.adapters == []
        shutil.rmtree(folder)

    def cut(name: str) -> Callable[[Path], Any]:
        return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-9])

    def centroid(**tensors: torch.Tensor) -> Callable[[Path], Any]:
        return lambda folder: save_file(tensors, folder / "centroid.safetensors")

    def settings(**changes: Any) -> Callable[[Path], Any]:
        return lambda folder: (folder / "encoder.json").write_text(json.dumps({**read_json(folder / "encoder.json"), **changes}))

    refused("is truncated or no safetensors file", cut("centroid.safetensors"))
    refused("holds no 'centroid'", centroid(other=torch.ones(384)))
    refused(r"the centroid has the shape \(96,\), and the base's vectors 384 values", centroid(centroid=torch.ones(96)))
    refused("the centroid holds values that are no numbers", centroid(centroid=torch.full((384,), float("nan"))))
    refused("encoder.json: is truncated or no JSON", cut("encoder.json"))
    refused("there is no encoder.json, which says how the adapter's texts are read", lambda folder: (folder / "encoder.json").unlink())
    refused("its 'lenght' is 3", settings(lenght=3))
    refused("its 'max_length' is '24'", settings(max_length="24"))
    refused("its 'pooler' is None", settings(pooler=None))
    encoder.add_adapter("good", members[0])
    assert encoder.route(TEXTS) == ["good"] * 3


@pytest.mark.adapters
def test_names_of_adapters_are_names(members: list[str], tiny: Path) -> None:
    from langadapt.errors import DataError

    encoder = Encoder.load(tiny, device="cpu")
    encoder.add_adapter("mine", members[0])
    for wrong in ([1], 1, [b"mine"], [["mine"]]):
        with pytest.raises(DataError, match=r"adapter.* is (int|bytes|list), not a name"):
            encoder.encode(["a"], adapter=wrong)  # type: ignore[arg-type]


def test_peft_finds_a_base_that_is_on_the_hub(make: Make, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The release names id and commit; peft loads the base by them, here from a cache that has it."""
    from huggingface_hub import constants
    from peft import AutoPeftModel

    release = make("lora", "lora").release
    assert release is not None
    assert read_json(release / "adapter_config.json")["base_model_name_or_path"] is None, "this base is a folder of this machine"
    commit = "0123456789abcdef0123456789abcdef01234567"
    source = {"source": {"hub": "someone/tiny", "revision": commit}, "format": "encoder"}
    stage = {"key": "k", "do": "load", "options": {"source": source, "layers": None, "weights": "pretrained"}, "inputs": {}}
    assert adapters.hub_origin([stage], "k") == ("someone/tiny", commit)
    for other in ({"do": "train"}, {"key": "j"}, {"inputs": {"encoder": ["j"]}}, {"options": {**stage["options"], "layers": 2}}):
        assert adapters.hub_origin([{**stage, **other}], "k") == ("", "")
    folder = Path(shutil.copytree(release, tmp_path / "release"))
    adapters.name_base(folder, adapters.load(folder), "someone/tiny", commit)
    snapshot = tmp_path / "hub" / "models--someone--tiny" / "snapshots" / commit
    shutil.copytree(tiny, snapshot)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("transformers.utils.hub.TRANSFORMERS_CACHE", str(tmp_path / "hub"), raising=False)  # gone in transformers 5
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    model = AutoPeftModel.from_pretrained(folder)
    encoder = Encoder.load(tiny, device="cpu")
    encoder.add_adapter("mine", folder)
    assert np.abs(pooled(model, tiny) - encoder.encode(TEXTS, adapter="mine")).max() <= 1e-5
