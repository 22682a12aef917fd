"""Poolers that read more than the last layer: against formulas, sentence-transformers, and from training to a release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from langadapt import Encoder
from langadapt.artifacts import encoder as encoders
from langadapt.contracts import Exporter, Pooler
from langadapt.errors import ModelError
from langadapt.registry.registry import Registry

pytestmark = pytest.mark.usefixtures("one_thread")

TEXTS = ["एक माणूस गिटार वाजवत आहे", "घर", "आज पाऊस पडला आणि शाळा बंद आहे"]
SLOTS: list[dict[str, Any]] = [
    {"use": "layer-mean", "layers": [1, -1]},
    {"use": "layer-mean", "layers": [0]},
    {"use": "first-last-mean"},
    {"use": "first-last-mean", "first": "block"},
    {"use": "layer-mix"},
    {"use": "ditto", "layer": 2, "head": 3},
    {"use": "ditto", "head": 2, "states": "last"},
]


def made(tiny: Path, registry: Registry, slot: dict[str, Any]) -> tuple[Any, Any]:
    """An encoder with a pooler whose weights are no longer where they began."""
    loaded = encoders.load(tiny, mlm_head=False)
    loaded.choose_pooler(slot)
    module = loaded.module(registry.make(Pooler, slot)).eval()
    if module.pooling is not None:
        torch.manual_seed(3)
        with torch.no_grad():
            module.pooling.logits.normal_()
            module.pooling.factor.fill_(1.7)
    return loaded, module


def by_hand(loaded: Any, slot: dict[str, Any], text: str, module: Any) -> np.ndarray:
    """The vector of one text, from transformers' own states and maps."""
    from transformers import AutoModel

    plain = AutoModel.from_pretrained(str(loaded.checkpoint), attn_implementation="eager")
    ids = loaded.tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        out = plain.eval()(**ids, output_hidden_states=True, output_attentions=True)
    layers = [layer[0] for layer in out.hidden_states]
    if slot["use"] == "first-last-mean":
        found = (layers[0 if slot.get("first") != "block" else 1] + layers[-1]).mean(0) / 2
    elif slot["use"] == "layer-mean":
        found = torch.stack([layers[layer] for layer in slot["layers"]]).mean(0).mean(0)
    elif slot["use"] == "layer-mix":
        shares = torch.softmax(module.pooling.logits, 0)
        found = 1.7 * sum(share * layer.mean(0) for share, layer in zip(shares, layers, strict=True))
    else:
        own = out.attentions[slot.get("layer", 1) - 1][0, slot["head"] - 1].diagonal()
        states = layers[-1] if slot.get("states") == "last" else (layers[0] + layers[-1]) / 2
        found = own @ states
    result: np.ndarray = found.detach().numpy()
    return result


@pytest.mark.parametrize("slot", SLOTS, ids=str)
def test_equals_its_formula_and_lasts(tiny: Path, registry: Registry, slot: dict[str, Any], tmp_path: Path) -> None:
    loaded, module = made(tiny, registry, slot)
    together = Encoder(loaded, module).encode(TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):  # padding with others changes nothing
        assert np.abs(vector - by_hand(loaded, slot, text, module)).max() < 1e-5
    encoders.save(loaded, tmp_path / "ours")
    assert np.abs(Encoder.load(tmp_path / "ours", device="cpu", registry=registry).encode(TEXTS) - together).max() < 1e-6


@pytest.mark.parametrize("slot", SLOTS[:5], ids=str)
def test_the_release_is_the_same_in_sentence_transformers(tiny: Path, registry: Registry, slot: dict[str, Any], tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    loaded, module = made(tiny, registry, slot)
    registry.make(Exporter, "sentence-transformers").export(module, loaded.tokenizer, loaded.settings, tmp_path)
    theirs = SentenceTransformer(str(tmp_path), device="cpu").encode(TEXTS)
    assert np.abs(theirs - Encoder(loaded, module).encode(TEXTS)).max() < 1e-5


def test_without_a_counterpart_the_release_says_how(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    loaded, module = made(tiny, registry, SLOTS[5])
    with pytest.raises(ModelError, match="no counterpart in sentence-transformers"):
        registry.make(Exporter, "sentence-transformers").export(module, loaded.tokenizer, loaded.settings, tmp_path)


def test_a_head_that_the_body_has_not(tiny: Path, registry: Registry) -> None:
    loaded = encoders.load(tiny, mlm_head=False)
    with pytest.raises(ModelError, match="ditto reads head 1-99"):
        loaded.module(registry.make(Pooler, {"use": "ditto", "head": 99}))


def test_weights_of_another_pooler_are_refused(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    loaded, _ = made(tiny, registry, SLOTS[4])
    loaded.pooling.logits = torch.nn.Parameter(torch.zeros(7))
    encoders.save(loaded, tmp_path / "odd")
    with pytest.raises(ModelError, match="the weights of its pooler 'layer-mix' do not fit"):
        Encoder.load(tmp_path / "odd", device="cpu", registry=registry)


@pytest.mark.parametrize("layer", [3, -4])
def test_a_layer_that_is_not_there(tiny: Path, registry: Registry, layer: int) -> None:
    with pytest.raises(ModelError, match=f"layer {layer} is to be pooled, and 'bert' has 2"):
        made(tiny, registry, {"use": "layer-mean", "layers": [0, layer]})[1].width  # noqa: B018
