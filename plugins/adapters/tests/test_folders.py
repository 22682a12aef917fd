"""Damaged and foreign adapter folders are refused before anything of them reaches the model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from langadapt.errors import ModelError

pytest.importorskip("adapters")

from langadapt_adapters.bottleneck import Bottleneck
from langadapt_adapters.folders import content
from langadapt_adapters.prefix import Prefix

if TYPE_CHECKING:
    from conftest import Lab

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def good(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "adapter"
    lab.trained("bert", Bottleneck(), folder)
    return folder


def config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = folder / "adapter_config.json"
    saved = json.loads(file.read_text())
    change(saved)
    file.write_text(json.dumps(saved))


def weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    file = folder / "adapter.safetensors"
    saved = load_file(file)
    change(saved)
    save_file(saved, file)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "adapter.safetensors"), folder / "pytorch_adapter.bin")
    (folder / "adapter.safetensors").unlink()


LAST = "encoder.layer.1.output.adapters.adapter.adapter_up.bias"
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "is no adapter folder"),
    "no config": (lambda folder: (folder / "adapter_config.json").unlink(), "there is no adapter_config.json"),
    "half a config": (lambda folder: cut(folder / "adapter_config.json"), "truncated or no JSON"),
    "a list as config": (lambda folder: (folder / "adapter_config.json").write_text("[]"), "no JSON object"),
    "config of nothing": (lambda folder: config(folder, lambda saved: saved.pop("name")), "does not describe an adapter"),
    "no weights": (lambda folder: (folder / "adapter.safetensors").unlink(), "there is no adapter.safetensors"),
    "a pickle": (pickled, "pickled .pytorch_adapter.bin."),
    "half the weights": (lambda folder: cut(folder / "adapter.safetensors"), "truncated or no safetensors"),
    "peft": (lambda folder: config(folder, lambda saved: saved.update(peft_type="LORA")), "saved by peft .LORA."),
    "another method": (
        lambda folder: config(folder, lambda saved: saved["config"].update(architecture="reft")),
        "holds reft, not bottleneck",
    ),
    "another family": (lambda folder: config(folder, lambda saved: saved.update(model_type="roberta")), "model_type roberta"),
    "another width": (lambda folder: config(folder, lambda saved: saved.update(hidden_size=768)), "hidden_size 768"),
    "the base's weights": (
        lambda folder: weights(folder, lambda saved: saved.update({"embeddings.LayerNorm.bias": torch.ones(64)})),
        "not the adapter's .embeddings.LayerNorm.bias.",
    ),
    "another adapter's weights": (
        lambda folder: weights(folder, lambda saved: saved.update({LAST.replace("adapters.adapter", "adapters.b"): torch.ones(64)})),
        "not the adapter's",
    ),
    "a layer less": (
        lambda folder: weights(folder, lambda saved: [saved.pop(key) for key in list(saved) if "layer.1" in key]),
        "lacks .*layer.1",
    ),
    "a layer more": (
        lambda folder: weights(folder, lambda saved: saved.update({LAST.replace("layer.1", "layer.2"): torch.ones(64)})),
        "layer.2.*no place",
    ),
    "other sizes": (lambda folder: config(folder, lambda saved: saved["config"].update(reduction_factor=2)), "does not fit.*size mismatch"),
    "odd settings": (lambda folder: config(folder, lambda saved: saved["config"].update(scaling="loud")), "does not fit.*loud"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_refused(damage: str, good: Path, lab: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(good, folder)
    lab.loaded("bert", Bottleneck(), folder)
    harm, message = DAMAGE[damage]
    harm(folder)
    model = lab.fresh("bert")
    before = lab.outputs(model)
    with pytest.raises(ModelError, match=message) as caught:
        Bottleneck().load(model, folder)
    assert str(folder) in str(caught.value.where)
    assert torch.equal(lab.outputs(model), before)
    # Nothing is left behind: the model still takes the right one.
    Bottleneck().load(model, good)


def test_a_head_in_the_folder_is_left_alone(good: Path, lab: Lab, tmp_path: Path) -> None:
    """The library would load it, pickled or not, over the head of the base."""
    folder = tmp_path / "adapter"
    shutil.copytree(good, folder)
    model = lab.fresh("bert-mlm")
    head = {key: value.clone() for key, value in model.state_dict().items() if key.startswith("cls.")}
    torch.save({key: value + 1 for key, value in head.items()}, folder / "pytorch_model_head.bin")
    Bottleneck().load(model, folder)
    assert head
    assert all(torch.equal(model.state_dict()[key], value) for key, value in head.items())


def test_each_method_loads_its_own(good: Path, lab: Lab, tmp_path: Path) -> None:
    Prefix(length=2, flat=True).save(lab.attached("bert", Prefix(length=2, flat=True)), tmp_path)
    with pytest.raises(ModelError, match="holds prefix_tuning, not bottleneck"):
        lab.loaded("bert", Bottleneck(), tmp_path)
    with pytest.raises(ModelError, match="holds bottleneck, not prefix_tuning"):
        lab.loaded("bert", Prefix(), good)


def test_any_name_of_the_adapter_will_do(lab: Lab, tmp_path: Path) -> None:
    model = lab.fresh("bert")
    import adapters

    adapters.init(model)
    model.add_adapter("sts-b.v2".replace(".", "_"), config="double_seq_bn", set_active=True)
    model.save_adapter(str(tmp_path), "sts-b_v2", use_safetensors=True)
    again = lab.loaded("bert", Bottleneck(), tmp_path)
    assert torch.equal(lab.outputs(again), lab.outputs(model))
    assert list(again.adapters_config) == ["adapter"]


def test_content_names_an_adapter(good: Path, tmp_path: Path) -> None:
    shutil.copytree(good, tmp_path / "stage" / "adapter")
    assert content(str(tmp_path / "stage")) == content(str(good)) != str(good)
    weights(tmp_path / "stage" / "adapter", lambda saved: saved[LAST].add_(1))
    assert content(str(tmp_path / "stage")) != content(str(good))
    assert content(str(tmp_path / "nowhere")) == str(tmp_path / "nowhere")
