"""LoRA and its kin: the base stays what it is, the added weights alone train, and what is saved comes back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from langadapt_lora import library
from langadapt_lora.ia3 import Ia3
from langadapt_lora.lora import Lora
from langadapt_lora.qlora import Qlora4bit, Qlora8bit
from langadapt_lora.semi_siamese import SemiSiamese
from langadapt_lora.targets import TARGETS
from langadapt_lora.twin_lora import TwinLora
from safetensors.torch import load_file, save_file

from langadapt.errors import ModelError
from langadapt.inference.adapter_files import read_adapter
from langadapt.inference.bank import AdapterBank
from langadapt.registry.registry import Registry

peft = pytest.importorskip("peft")

if TYPE_CHECKING:
    from conftest import Lab

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore::UserWarning")]

Trainable = Callable[[Any], dict[str, torch.Tensor]]
FAMILIES = ["bert", "xlmr", "electra", "deberta", "mpnet", "deberta-v2", "distilbert", "albert", "modernbert", "llama", "bloom", "gpt2"]
ADAPTATIONS: dict[str, Callable[[], Any]] = {
    "lora": lambda: Lora(r=3),
    "attention": lambda: Lora(r=2, targets="attention"),
    "rslora": lambda: Lora(r=5, rslora=True, dropout=0.1),
    "dora": lambda: Lora(r=4, dora=True),
    "ia3": Ia3,
    "twin-lora": lambda: TwinLora(r=3),
}


def attached(lab: Lab, family: str, adaptation: Any, seed: int = 1) -> Any:
    model = lab.fresh(family)
    torch.manual_seed(seed)
    adaptation.attach(model)
    return model


def parts(adaptation: Any, folder: Path) -> list[Path]:
    """Folders with an adapter each."""
    roles = getattr(adaptation, "roles", ())
    return [folder / role for role in roles] or [folder]


def plain(name: str) -> str:
    """A weight's name in the base without peft's wrapper."""
    return name.replace(".base_layer.", ".")


@pytest.mark.parametrize("kind", sorted(ADAPTATIONS))
@pytest.mark.parametrize("family", FAMILIES)
def test_train_save_load(family: str, kind: str, lab: Lab, tmp_path: Path, trainable: Trainable) -> None:
    adaptation = ADAPTATIONS[kind]()
    base = lab.fresh(family)
    before = lab.outputs(base)
    model = attached(lab, family, adaptation)
    assert (lab.outputs(model) - before).abs().max() <= 2e-6, "a new module has no effect"
    added = trainable(model)
    assert added
    assert all(".lora_" in name or ".ia3_l." in name for name in added)
    assert {plain(name) for name, _ in model.named_parameters() if name not in added} == {name for name, _ in base.named_parameters()}
    roles = getattr(adaptation, "roles", ())
    if roles:
        assert all(any(f".role_{role}." in name for role in roles) for name in added)
    for role in roles or [""]:
        if role:
            adaptation.activate(model, role)
        assert trainable(model).keys() == added.keys()
        lab.train(model, 3)
        mine = [weight for name, weight in added.items() if not role or f".role_{role}." in name]
        assert mine
        assert all(weight.grad is not None and weight.grad.any() for weight in mine)
    now = {plain(name): value for name, value in model.state_dict().items() if name not in added}
    for name, value in base.state_dict().items():
        assert torch.equal(value, now[name]), name
    assert all(weight.grad is None for name, weight in model.named_parameters() if name not in added)
    after = lab.outputs(model)
    assert (after - before).abs().max() > 1e-3

    folder = tmp_path / "one"
    adaptation.save(model, folder)
    adaptation.save(model, tmp_path / "two")
    total = 0
    for part, again in zip(parts(adaptation, folder), parts(adaptation, tmp_path / "two"), strict=True):
        assert sorted(path.name for path in part.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
        for file in part.iterdir():
            assert file.read_bytes() == (again / file.name).read_bytes(), "equal weights give equal bytes"
        saved = load_file(part / "adapter_model.safetensors")
        assert all(key.startswith("base_model.model.") and ("lora_" in key or key.endswith("ia3_l")) for key in saved)
        count = sum(value.numel() for value in saved.values())
        assert (part / "adapter_model.safetensors").stat().st_size <= count * 4 + 65536
        total += count
        stated = (part / "adapter_config.json").read_text()
        assert str(tmp_path) not in stated
        assert json.loads(stated)["base_model_name_or_path"] is None
    assert total == sum(weight.numel() for weight in added.values()), "the trained weights and none besides"

    loaded = lab.fresh(family)
    torch.manual_seed(99)
    adaptation.load(loaded, folder)
    assert trainable(loaded).keys() == added.keys()
    for role in roles or [""]:
        if role:
            adaptation.activate(model, role)
            adaptation.activate(loaded, role)
        assert torch.equal(lab.outputs(loaded), lab.outputs(model))
    if kind != "rslora":  # its dropout draws other numbers
        assert lab.train(loaded, 2) == lab.train(model, 2), "training goes on as if it had never stopped"
        assert torch.equal(lab.outputs(loaded), lab.outputs(model))
        assert not torch.equal(lab.outputs(loaded), after)


@pytest.mark.parametrize("kind", ["lora", "dora", "ia3"])
@pytest.mark.parametrize("family", ["bert", "modernbert", "bloom", "gpt2", "albert"])
def test_peft_and_the_bank_load_what_is_saved(family: str, kind: str, lab: Lab, tmp_path: Path) -> None:
    adaptation = ADAPTATIONS[kind]()
    model = attached(lab, family, adaptation)
    lab.train(model)
    adaptation.save(model, tmp_path)
    ours = lab.outputs(model)
    theirs = peft.PeftModel.from_pretrained(lab.fresh(family), tmp_path).eval()
    assert torch.equal(lab.outputs(theirs.base_model.model), ours)
    bank = AdapterBank(lab.fresh(family))
    bank.add("x", lambda: read_adapter(tmp_path))
    with bank.lease(["x"] * 3) as lease, lease.rows(range(3)):
        assert (lab.outputs(bank.body) - ours).abs().max() <= 1e-5


def test_a_model_with_a_head_saves_what_a_body_loads(lab: Lab, tmp_path: Path, trainable: Trainable) -> None:
    adaptation = Lora(r=2)
    model = lab.fresh("bert-mlm")
    adaptation.attach(model)
    assert not [name for name in trainable(model) if name.startswith("cls")]
    lab.train(model)
    adaptation.save(model, tmp_path)
    body = lab.fresh("bert")
    body.load_state_dict({plain(key): value for key, value in model.bert.state_dict().items() if "lora_" not in key})
    adaptation.load(body, tmp_path)
    assert torch.equal(lab.outputs(body), lab.outputs(model))


def test_the_seed_alone_decides(lab: Lab, trainable: Trainable) -> None:
    one, same, other = (trainable(attached(lab, "bert", Lora(), seed)) for seed in (1, 1, 2))
    key = next(name for name in one if "lora_A" in name)
    assert torch.equal(one[key], same[key])
    assert not torch.equal(one[key], other[key])


# which layers ----------------------------------------------------------------------------------------------------------

COUNTS = {
    "bert": (6, 12),
    "mpnet": (6, 12),
    "deberta": (2, 8),
    "modernbert": (2, 8),
    "llama": (6, 14),
    "bloom": (2, 8),
    "gpt2": (2, 8),
    "distilbert": (6, 12),
    "albert": (3, 6),
}
"""Layers changed by ``attention`` and by ``all`` in two blocks (Albert's share one)."""


@pytest.mark.parametrize("family", sorted(COUNTS))
def test_targets_of_each_architecture(family: str, lab: Lab, trainable: Trainable) -> None:
    for targets, count in zip(("attention", "all"), COUNTS[family], strict=True):
        names = [name for name in trainable(attached(lab, family, Lora(targets=targets))) if "lora_A" in name]
        assert len(names) == count, names


@pytest.mark.parametrize(
    ("family", "widths"),
    [
        ("bert", 64 + 64 + 128),
        ("electra", 64 + 64 + 128),
        ("deberta-v2", 64 + 64 + 128),
        ("distilbert", 64 + 64 + 128),
        ("modernbert", 3 * 64 + 128),
        ("llama", 64 + 64 + 128),
        ("bloom", 3 * 64 + 256),
        ("gpt2", 3 * 64 + 256),
    ],
)
def test_ia3_scales_keys_values_and_the_inner_activations(family: str, widths: int, lab: Lab, trainable: Trainable) -> None:
    """Per block; attention's own output layer, whose name ends alike, is left alone."""
    found = trainable(attached(lab, family, Ia3()))
    if family == "modernbert":
        widths = 3 * 64 + found["layers.0.mlp.Wo.ia3_l.default"].numel()
    assert sum(weight.numel() for weight in found.values()) == 2 * widths, sorted(found)
    assert not [name for name in found if "attention.output" in name or "self_attention.dense" in name or "attn.c_proj" in name]


def test_targets_override_the_table(lab: Lab, trainable: Trainable) -> None:
    found = trainable(attached(lab, "bert", Lora(targets=["value", "1.output.dense"])))
    modules = {name.split(".lora_")[0] for name in found}
    values = {f"encoder.layer.{i}.attention.self.value" for i in (0, 1)}
    assert modules == {*values, "encoder.layer.1.output.dense"}
    unknown = attached(lab, "fnet", Lora(targets=["intermediate.dense"]))
    assert len([name for name in trainable(unknown) if "lora_A" in name]) == 2


def test_unknown_architectures_and_names(lab: Lab, registry: Registry) -> None:
    message = "which layers of the architecture 'fnet' to adapt is not known Name them with the option 'targets'.*this model has: dense"
    for adaptation in (Lora(), Ia3(), SemiSiamese()):
        with pytest.raises(ModelError, match=message):
            adaptation.attach(lab.fresh("fnet"))
    with pytest.raises(
        ModelError, match="no linear layer's name ends with 'q_proj', 'word_embeddings' This model's linear layers end with: "
    ):
        Lora(targets=["q_proj", "word_embeddings", "query"]).attach(lab.fresh("bert"))
    with pytest.raises(ModelError, match="no linear layer's name ends with 'uery'"):
        Lora(targets=["uery"]).attach(lab.fresh("bert"))
    assert registry.build("adaptation", {"use": "lora", "r": 4, "targets": ["query"]}).targets == ["query"]  # type: ignore[attr-defined]
    for slot in ({"r": 0}, {"alpha": 0}, {"dropout": 1.0}, {"targets": "some"}):
        with pytest.raises(Exception, match=next(iter(slot))):
            registry.build("adaptation", {"use": "lora", **slot})
    assert {"bert", "xlm-roberta", "modernbert", "bloom", "llama"} <= TARGETS.keys()


# two roles -------------------------------------------------------------------------------------------------------------


def test_an_adapter_called_like_a_module_leaves_the_base_alone(lab: Lab, tmp_path: Path, trainable: Trainable) -> None:
    """BERT has modules called ``query``; once all of them trained."""
    adaptation = TwinLora(r=2)
    model = attached(lab, "bert", adaptation)
    assert "encoder.layer.0.attention.self.query.base_layer.weight" not in trainable(model)
    lab.train(model)
    adaptation.save(model, tmp_path)
    for role, other in (("query", "document"), ("document", "query")):
        saved = load_file(tmp_path / role / "adapter_model.safetensors")
        assert len(saved) == 24
        assert not [key for key in saved if other in key.split(".lora_")[1]]
        bank = AdapterBank(lab.fresh("bert"))
        bank.add(role, lambda role=role: read_adapter(tmp_path / role))  # type: ignore[misc]
        adaptation.activate(model, role)
        with bank.lease([role] * 3) as lease, lease.rows(range(3)):
            assert (lab.outputs(bank.body) - lab.outputs(model)).abs().max() <= 1e-5


@pytest.mark.parametrize(("shared", "output"), [("query", False), ("value", False), ("query", True)])
def test_semi_siamese_is_what_the_paper_says(shared: Any, output: bool, lab: Lab, tmp_path: Path, trainable: Trainable) -> None:
    """Against plain weights: W + A·B/2, the shared half one tensor, and each role's states those of the merged matrices."""
    adaptation = SemiSiamese(shared=shared, output=output, dropout=0.0)
    model = attached(lab, "bert", adaptation)
    layers = model.config.num_hidden_layers
    assert len(trainable(model)) == layers * (2 + 2 * output + 2 * 2)  # two factors in common (four in LoRA+), two for each of two roles
    first = [weight for name, weight in trainable(model).items() if "lora_A" in name]
    assert torch.cat([weight.flatten() for weight in first]).std().item() == pytest.approx(0.02, rel=0.1)
    torch.manual_seed(4)
    with torch.no_grad():
        for weight in trainable(model).values():
            weight.add_(0.1 * torch.randn_like(weight))
    adaptation.save(model, tmp_path)
    saved = {role: load_file(tmp_path / role / "adapter_model.safetensors") for role in adaptation.roles}
    for name, value in saved["query"].items():
        assert torch.equal(value, saved["document"][name]) == (f".{shared}." in name or ".attention.output." in name), name
    for role, tensors in saved.items():
        merged = lab.fresh("bert")
        with torch.no_grad():
            for name, value in tensors.items():
                if "lora_A" in name:
                    place = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
                    merged.base_model.get_submodule(place).weight.add_(tensors[name.replace("lora_A", "lora_B")] @ value / 2)
        adaptation.activate(model, role)
        assert (lab.outputs(merged) - lab.outputs(model)).abs().max() <= 1e-5
    again = lab.fresh("bert")
    adaptation.load(again, tmp_path)
    assert trainable(again).keys() == trainable(model).keys()
    with pytest.raises(ModelError, match="of which no half can be shared"):
        adaptation.attach(lab.fresh("bloom"))


def test_roles_get_gradients_of_their_own(lab: Lab, trainable: Trainable) -> None:
    adaptation = TwinLora(r=3)
    model = attached(lab, "bert", adaptation).train()
    found = trainable(model)
    mine = {role: {name: weight for name, weight in found.items() if f".role_{role}." in name} for role in adaptation.roles}
    starts = [torch.cat([weight.flatten() for name, weight in sorted(mine[role].items()) if "lora_A" in name]) for role in mine]
    assert starts[0].shape == starts[1].shape
    assert not torch.equal(*starts), "two draws of one form"

    adaptation.activate(model, "query")
    queries = lab.states(model)[:, 0]
    adaptation.activate(model, "document")
    documents = lab.states(model)[:, 1]
    ((queries * documents).sum(-1) - 1).pow(2).sum().backward()
    gradients = {}
    for role, weights in mine.items():
        assert all(weight.grad is not None for weight in weights.values()), role
        gradients[role] = torch.cat([weight.grad.flatten() for name, weight in sorted(weights.items()) if weight.grad is not None])
        assert gradients[role].abs().max() > 0, role
    assert not torch.equal(gradients["query"], gradients["document"])

    model.zero_grad()
    adaptation.activate(model, "document")
    lab.loss(model).backward()
    assert all(weight.grad is None or not weight.grad.any() for weight in mine["query"].values()), (
        "documents do not train the query's module"
    )


# damaged and foreign folders ---------------------------------------------------------------------------------------------


def test_what_cannot_be_loaded(lab: Lab, tmp_path: Path) -> None:
    adaptation = Lora(r=2)
    good = tmp_path / "good"
    model = attached(lab, "bert", adaptation)
    lab.train(model)
    adaptation.save(model, good)

    def broken(change: Callable[[Path], Any]) -> str:
        folder = tmp_path / "broken"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(good, folder)
        change(folder)
        with pytest.raises(ModelError) as caught:
            adaptation.load(lab.fresh("bert"), folder)
        assert str(caught.value.where).startswith(str(folder))
        return str(caught.value)

    def cut(folder: Path) -> None:
        file = folder / "adapter_model.safetensors"
        file.write_bytes(file.read_bytes()[:-7])

    def drop_layer(folder: Path) -> None:
        file = folder / "adapter_model.safetensors"
        save_file({key: value for key, value in load_file(file).items() if "layer.1." not in key}, file)

    def settings(**changes: Any) -> Callable[[Path], None]:
        def change(folder: Path) -> None:
            file = folder / "adapter_config.json"
            file.write_text(json.dumps(json.loads(file.read_text()) | changes))

        return change

    assert "there is no adapter_model.safetensors Is this an adapter that peft saved?" in broken(
        lambda folder: (folder / "adapter_model.safetensors").unlink()
    )
    assert "there is no adapter_config.json" in broken(lambda folder: (folder / "adapter_config.json").unlink())
    assert "is truncated or no safetensors file" in broken(cut)
    assert "the adapter does not fit this base" in broken(lambda folder: (folder / "adapter_config.json").write_text('{"peft_type": '))
    assert "the adapter does not fit this base" in broken(settings(peft_type="NEVER"))
    assert "the adapter does not fit this base" in broken(settings(target_modules=["nothing_here"]))
    assert "the adapter does not fit this base" in broken(settings(r=5))
    assert "nothing takes '" in broken(settings(target_modules=["attention.self.query"]))
    assert "it lacks 'encoder.layer.1." in broken(drop_layer)
    with pytest.raises(ModelError, match="the adapter does not fit this base|is for another base"):
        adaptation.load(lab.fresh("llama"), good)
    with pytest.raises(ModelError, match="the adapter does not fit this base"):
        adaptation.load(lab.fresh("bert", hidden_size=96), good)
    adaptation.load(lab.fresh("bert"), good)


# memory --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lora", "dora", "ia3"])
@pytest.mark.parametrize("family", ["bert", "modernbert", "bloom", "llama"])
def test_gradient_checkpointing_changes_no_gradient(family: str, kind: str, lab: Lab, trainable: Trainable) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = attached(lab, family, ADAPTATIONS[kind]())
        if checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.train()
        lab.loss(model).backward()
        gradients.append({name: weight.grad for name, weight in trainable(model).items()})
    plain_, saving = gradients
    assert all(gradient is not None for gradient in saving.values())
    assert max(float((plain_[name] - saving[name]).abs().max()) for name in plain_) <= 1e-5
    assert max(float(gradient.abs().max()) for gradient in saving.values()) > 1e-3


def test_two_roles_and_gradient_checkpointing(lab: Lab) -> None:
    """A recomputation in the backward pass would meet the role that was activated last."""
    adaptation = TwinLora(r=3)
    model = attached(lab, "bert", adaptation)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    adaptation.activate(model.eval(), "query")  # nothing is recomputed in evaluation
    with pytest.raises(ModelError, match="gradient_checkpointing"):
        adaptation.activate(model.train(), "query")


# quantised bases -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adaptation", [Qlora8bit(r=4, alpha=8), Qlora4bit(r=4, alpha=8), Qlora4bit(r=4, double=False, dora=True)])
@pytest.mark.parametrize("family", ["bert", "bloom"])
def test_training_on_a_quantised_base(family: str, adaptation: Any, lab: Lab, tmp_path: Path, trainable: Trainable) -> None:
    model = lab.quantised(family, adaptation, tmp_path / "base")
    torch.manual_seed(1)
    adaptation.attach(model)
    added = trainable(model)
    assert all("lora_" in name for name in added)
    frozen = {name: value.clone() for name, value in model.state_dict().items() if "lora_" not in name}
    assert any(value.dtype in (torch.int8, torch.uint8) for value in frozen.values())
    losses = lab.train(model, 4)
    lab.outputs(model)  # a validation in between must not end the training
    losses += lab.train(model, 8)
    assert losses[-1] < 0.7 * losses[0], losses
    for name, value in model.state_dict().items():
        assert "lora_" in name or torch.equal(value, frozen[name]), name
    adaptation.save(model, tmp_path / "x")
    assert sum(value.numel() for value in load_file(tmp_path / "x" / "adapter_model.safetensors").values()) == sum(
        weight.numel() for weight in added.values()
    )
    again = lab.quantised(family, adaptation, tmp_path / "base")
    adaptation.load(again, tmp_path / "x")
    assert torch.equal(lab.outputs(again), lab.outputs(model))
    assert lab.train(again, 2) == lab.train(model, 2)


def test_a_validation_changes_no_gradient(lab: Lab, tmp_path: Path, trainable: Trainable) -> None:
    """Some processors repack 4-bit weights at the first evaluation into a form that passes no gradients."""
    gradients = []
    for validated in (False, True):
        adaptation = Qlora4bit(r=4, alpha=8)
        model = lab.quantised("bert", adaptation, tmp_path / "base")
        torch.manual_seed(1)
        adaptation.attach(model)
        if validated:
            lab.outputs(model)
        model.train()
        lab.loss(model).backward()
        gradients.append({name: weight.grad for name, weight in trainable(model).items()})
    assert all(torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[0])
    assert max(float(gradient.abs().max()) for gradient in gradients[1].values()) > 1e-3


def test_eight_bit_dora_is_refused_on_the_cpu() -> None:
    with pytest.raises(ModelError, match="peft cannot train DoRA on an 8-bit base on the CPU Switch dora off"):
        Qlora8bit(dora=True).load_options("cpu")
    assert Qlora8bit(dora=True).load_options("cuda")["quantization_config"].load_in_8bit
    double = [Qlora4bit(double=double).load_options("cpu")["quantization_config"].bnb_4bit_use_double_quant for double in (True, False)]
    assert double == [True, False]


def test_weights_carry_no_adapter_name(lab: Lab, tmp_path: Path) -> None:
    """One adapter's file loads under any name."""
    model = attached(lab, "bert", Lora(r=2))
    lab.train(model)
    Lora(r=2).save(model, tmp_path)
    other = lab.fresh("bert")
    other.requires_grad_(False)
    library.restore(other, "query", tmp_path)
    assert torch.equal(lab.outputs(other), lab.outputs(model))
