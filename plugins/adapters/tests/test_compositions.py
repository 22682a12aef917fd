"""Stacks, fusions and averages of trained adapters."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from langadapt.errors import ModelError

adapters = pytest.importorskip("adapters")

from langadapt_adapters.bottleneck import Bottleneck  # noqa: E402
from langadapt_adapters.compositions import Average, Fuse, Stack  # noqa: E402

if TYPE_CHECKING:
    from conftest import Lab

pytestmark = pytest.mark.usefixtures("one_thread")

FAMILIES = ["bert", "xlmr", "modernbert", "llama", "bloom", "bert-mlm"]
Members = Callable[..., list[str]]


@pytest.fixture(scope="module")
def members(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Members:
    """Folders of two adapters trained from different starts; the second inside a folder of its own."""
    known: dict[Any, list[str]] = {}

    def make(family: str, form: Any = "seq_bn") -> list[str]:
        if (family, form) not in known:
            folder = tmp_path_factory.mktemp("members")
            adaptation = Bottleneck(form=form, reduction_factor=4, non_linearity="gelu")
            lab.trained(family, adaptation, folder / "one", seed=1)
            lab.trained(family, adaptation, folder / "two" / "adapter", seed=2)
            known[family, form] = [str(folder / "one"), str(folder / "two")]
        return known[family, form]

    return make


def tensors(folder: str | Path) -> dict[str, torch.Tensor]:
    folder = Path(folder)
    return load_file((folder if (folder / "adapter.safetensors").is_file() else folder / "adapter") / "adapter.safetensors")


def check(family: str, adaptation: Any, lab: Lab, folder: Path, trainable: Callable[[Any], set[str]], own: str) -> Any:
    """Train, save, load: only `own` trains, nothing else moves, and both we and the library bring it back."""
    before = lab.attached(family, adaptation)
    model = lab.trained(family, adaptation, folder)
    assert trainable(model) == {name for name, _ in model.named_parameters() if own in name} != set()
    now = dict(model.named_parameters())
    assert all(torch.equal(weight, now[name]) for name, weight in before.named_parameters() if own not in name)
    after = lab.outputs(model)
    assert not torch.equal(lab.outputs(before), after)
    again = lab.loaded(family, adaptation, folder)
    assert torch.equal(lab.outputs(again), after)
    assert trainable(again) == trainable(model)
    lab.train(again, 1)
    assert not torch.equal(lab.outputs(again), after)
    return model


def stock(family: str, lab: Lab, folder: Path) -> Any:
    """The library by itself, on the body."""
    model = lab.fresh(family)
    file = next(iter(sorted(folder.glob("*/adapter_interface.json"))), None)
    adapters.init(model, interface=adapters.AdapterModelInterface(**json.loads(file.read_text())["interface"]) if file else None)
    model.load_adapter_setup(str(folder), use_safetensors=True, set_active=True)
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_stack(family: str, lab: Lab, members: Members, tmp_path: Path, trainable: Callable[[Any], set[str]]) -> None:
    over = members(family)
    model = check(family, Stack(over=over, reduction_factor=8), lab, tmp_path, trainable, ".adapters.adapter.")
    assert torch.equal(lab.outputs(stock(family, lab, tmp_path)), lab.outputs(model))
    for number, one in enumerate(over):
        saved = tensors(tmp_path / f"member{number}")
        for key, tensor in tensors(one).items():
            assert torch.equal(saved[key.replace(".adapters.adapter.", f".adapters.member{number}.")], tensor)


@pytest.mark.parametrize("family", ["bert", "modernbert", "bloom"])
def test_a_stack_goes_through_its_members(family: str, lab: Lab, members: Members) -> None:
    """With a top that adds nothing, a stack on one member is that member."""
    (one, _) = members(family)
    model = lab.attached(family, Stack(over=[one]))
    for name, weight in model.named_parameters():
        if ".adapters.adapter.adapter_up" in name:
            weight.data.zero_()
    alone = lab.loaded(family, Bottleneck(), Path(one))
    assert torch.equal(lab.outputs(model), lab.outputs(alone))
    assert not torch.equal(lab.outputs(alone), lab.outputs(lab.fresh(family)))


@pytest.mark.parametrize("family", FAMILIES)
def test_fuse(family: str, lab: Lab, members: Members, tmp_path: Path, trainable: Callable[[Any], set[str]]) -> None:
    model = check(family, Fuse(over=members(family)), lab, tmp_path, trainable, ".adapter_fusion_layer.")
    if not family.endswith("-mlm"):
        assert torch.equal(lab.outputs(stock(family, lab, tmp_path)), lab.outputs(model))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter_setup.json", "member0", "member0,member1", "member1"]
    saved = load_file(tmp_path / "member0,member1" / "model_adapter_fusion.safetensors")
    assert all(".output" in key and ".adapter_fusion_layer.member0,member1." in key for key in saved)
    assert sum(tensor.numel() for tensor in saved.values()) == 2 * (3 * 64 * 64 + 2 * 64)


@pytest.mark.parametrize("family", ["bert", "modernbert", "bloom"])
def test_a_fusion_of_equals_is_the_equal(family: str, lab: Lab, members: Members) -> None:
    (one, _) = members(family)
    model = lab.attached(family, Fuse(over=[one, one]))
    alone = lab.loaded(family, Bottleneck(), Path(one))
    assert torch.allclose(lab.outputs(model), lab.outputs(alone), atol=1e-3)
    assert (lab.outputs(alone) - lab.outputs(lab.fresh(family))).abs().max() > 1e-2


@pytest.mark.parametrize("form", ["seq_bn", "double_seq_bn", "par_bn"])
@pytest.mark.parametrize("family", ["bert", "modernbert", "bloom-lm"])
def test_average(family: str, form: str, lab: Lab, members: Members, tmp_path: Path, trainable: Callable[[Any], set[str]]) -> None:
    over = members(family, form)
    model = lab.attached(family, Average(over=over, weights=[1, 3]))
    assert list(model.adapters_config) == ["adapter"]
    Average(over=over).save(model, tmp_path / "start")
    one, two, mean = tensors(over[0]), tensors(over[1]), tensors(tmp_path / "start")
    assert one.keys() == mean.keys()
    assert all(torch.allclose(mean[key], 0.25 * one[key] + 0.75 * two[key], atol=1e-7) for key in mean)
    Average(over=over).save(lab.attached(family, Average(over=over)), tmp_path / "even")
    even = tensors(tmp_path / "even")
    assert all(torch.allclose(even[key], (one[key] + two[key]) / 2, atol=1e-7) for key in even)
    trained = check(family, Average(over=over), lab, tmp_path / "trained", trainable, ".adapters.adapter.")
    plain = lab.loaded(family, Bottleneck(), tmp_path / "trained")
    assert torch.equal(lab.outputs(plain), lab.outputs(trained))


def test_precision_is_the_bases(lab: Lab, members: Members) -> None:
    over = members("bert")
    for adaptation in (Bottleneck(), Stack(over=over), Fuse(over=over), Average(over=over)):
        model = lab.fresh("bert").to(torch.bfloat16)
        adaptation.attach(model)
        assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
        assert lab.outputs(model).dtype == torch.bfloat16


def test_members_are_checked(lab: Lab, members: Members, tmp_path: Path) -> None:
    seq, double, parallel = (members("bert", form) for form in ("seq_bn", "double_seq_bn", "par_bn"))
    for build in (lambda over: Stack(over=over), lambda over: Fuse(over=over)):
        with pytest.raises(ModelError, match="member 1 is a parallel bottleneck"):
            build([seq[0], parallel[0]]).attach(lab.fresh("bert"))
        with pytest.raises(ModelError, match="is no adapter folder"):
            build([seq[0], str(tmp_path / "nowhere")]).attach(lab.fresh("bert"))
        with pytest.raises(ModelError, match="model_type bert"):
            build(seq).attach(lab.fresh("xlmr"))
    with pytest.raises(ModelError, match="cannot be fused: their mh_adapter is False and True"):
        Fuse(over=[seq[0], double[0]]).attach(lab.fresh("bert"))
    with pytest.raises(ModelError, match="cannot be averaged: their is_parallel is False and True"):
        Average(over=[seq[0], parallel[0]]).attach(lab.fresh("bert"))
    # A stack may mix places: the top stands where it stands.
    Stack(over=[double[0]]).save(lab.attached("bert", Stack(over=[double[0]])), tmp_path / "stack")
    with pytest.raises(ModelError, match="compositions cannot be nested"):
        Stack(over=[str(tmp_path / "stack")]).attach(lab.fresh("bert"))
    with pytest.raises(ValidationError):
        Stack(over=[])
    with pytest.raises(ValidationError):
        Stack(over=seq, form="par_bn")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="3 weights for 2 adapters"):
        Average(over=seq, weights=[1, 2, 3])
    with pytest.raises(ValidationError, match="sum to 0"):
        Average(over=seq, weights=[1, -1])


def test_saved_compositions_are_checked(lab: Lab, members: Members, tmp_path: Path) -> None:
    over = members("bert")
    stack, fuse = tmp_path / "stack", tmp_path / "fuse"
    Stack(over=over).save(lab.attached("bert", Stack(over=over)), stack)
    Fuse(over=over).save(lab.attached("bert", Fuse(over=over)), fuse)
    with pytest.raises(ModelError, match="is no fuse of adapters"):
        lab.loaded("bert", Fuse(over=over), stack)
    with pytest.raises(ModelError, match="is no stack of adapters"):
        lab.loaded("bert", Stack(over=over), fuse)
    with pytest.raises(ModelError, match="there is no adapter_setup.json"):
        lab.loaded("bert", Stack(over=over), Path(over[0]))
    inner = fuse / "member0,member1"
    kept = (inner / "model_adapter_fusion.safetensors").read_bytes()
    (inner / "model_adapter_fusion.safetensors").write_bytes(kept[:-100])
    with pytest.raises(ModelError, match="truncated"):
        lab.loaded("bert", Fuse(over=over), fuse)
    (inner / "model_adapter_fusion.safetensors").write_bytes(kept)
    saved = load_file(inner / "model_adapter_fusion.safetensors")
    saved.pop(next(key for key in saved if "layer.1" in key))
    save_file(saved, inner / "model_adapter_fusion.safetensors")
    with pytest.raises(ModelError, match="fusion does not fit"):
        lab.loaded("bert", Fuse(over=over), fuse)
    (inner / "model_adapter_fusion.safetensors").write_bytes(kept)
    with pytest.raises(ModelError, match="adapter does not fit"):
        lab.loaded("bert", Fuse(over=over), fuse, num_hidden_layers=3)
    (inner / "adapter_fusion_config.json").write_text("{}")
    with pytest.raises(ModelError, match="does not describe a fusion"):
        lab.loaded("bert", Fuse(over=over), fuse)
    setup = json.loads((stack / "adapter_setup.json").read_text())
    setup["adapter_setup"]["children"][0]["children"] = ["../fuse/member0"]
    (stack / "adapter_setup.json").write_text(json.dumps(setup))
    with pytest.raises(ModelError, match="no plain folder name"):
        lab.loaded("bert", Stack(over=over), stack)


def test_identity_follows_content(members: Members, tmp_path: Path) -> None:
    over = members("bert")
    shutil.copytree(over[0], tmp_path / "copy")
    assert Fuse(over=over).identity() == Fuse(over=[str(tmp_path / "copy"), over[1]]).identity()
    assert Fuse(over=over).identity() != Fuse(over=over[::-1]).identity()
    assert str(tmp_path) not in json.dumps(Stack(over=[str(tmp_path / "copy")]).identity())
