"""Prefixes with a common and a divided half, and hybrids with LoRA: what is shared, what trains, what comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file

from langadapt.errors import ModelError

adapters = pytest.importorskip("adapters")

from langadapt_adapters.semi_siamese_hybrid import SemiSiameseHybrid  # noqa: E402
from langadapt_adapters.semi_siamese_prefix import SemiSiamesePrefix  # noqa: E402

SemiSiamese = pytest.importorskip("langadapt_lora.semi_siamese").SemiSiamese

if TYPE_CHECKING:
    from conftest import Lab

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = SemiSiamesePrefix(length=4, bottleneck_size=8)


def in_role(lab: Lab, model: Any, adaptation: Any, role: str) -> torch.Tensor:
    adaptation.activate(model, role)
    return lab.outputs(model)


def authors(theta: torch.Tensor, *networks: Any) -> torch.Tensor:
    """(L, 2·hlen, d) as the authors' forward pass has it: the networks' sum, cut into rows of all layers' values."""
    length, width = theta.shape
    given = sum(second(torch.relu(first(theta))) for first, second in networks)
    return given.reshape(length * 2, -1, width).permute(1, 0, 2)


def parts(model: Any, role: str) -> Any:
    (flat,) = model.base_model.prefix_tuning.prefix_tunings[f"role_{role}"].values()
    return flat, flat.parametrizations["control_trans"][0]


@pytest.mark.parametrize("shared", ["half", "all", "none"])
def test_keys_and_values_are_the_authors(shared: str, lab: Lab) -> None:
    """Of each layer the first rows of their tensor are keys, the others values (their modeling_bert)."""
    model = lab.attached("bert", SemiSiamesePrefix(length=4, bottleneck_size=8, shared=shared))  # type: ignore[arg-type]
    for role in ("query", "document"):
        flat, made = parts(model, role)
        theirs = authors(made.theta, *((network[0], network[2]) for network in made.networks))
        for layer, both in enumerate(flat(3)):
            for given, rows in zip(both, (slice(4), slice(4, 8)), strict=True):
                goal = theirs[layer, rows].expand(3, -1, -1)
                assert torch.allclose(given.permute(0, 2, 1, 3).flatten(2), goal, atol=1e-6)


def test_one_half_is_common(lab: Lab) -> None:
    """Training one reader moves the common network, and with it what the other reads; the other's own network stays."""
    model = lab.attached("bert", SMALL)
    (_, query), (_, document) = parts(model, "query"), parts(model, "document")
    assert query.networks[0] is document.networks[0] and query.theta is document.theta
    assert query.networks[1] is not document.networks[1]
    SMALL.activate(model, "query")
    lab.states(model).sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in query.parameters())
    assert all(weight.grad is None for weight in document.networks[1].parameters())
    words = model.get_input_embeddings().weight
    theta = SemiSiamesePrefix(length=200)
    drawn = parts(lab.attached("bert", theta), "query")[1].theta
    assert abs(float(drawn.detach().std() / words.detach().std()) - 1) < 0.03
    assert abs(float(drawn.mean() - words.mean())) < 0.03 * float(words.std())


def test_how_much_is_shared(lab: Lab) -> None:
    """`all`: the readers read alike; `none`: nothing but the embeddings is common."""
    same, apart = SemiSiamesePrefix(length=4, shared="all"), SemiSiamesePrefix(length=4, shared="none")
    model = lab.attached("bert", same)
    assert torch.equal(in_role(lab, model, same, "query"), in_role(lab, model, same, "document"))
    model = lab.attached("bert", apart)
    assert not torch.equal(in_role(lab, model, apart, "query"), in_role(lab, model, apart, "document"))
    assert not set(parts(model, "query")[1].networks.parameters()) & set(parts(model, "document")[1].networks.parameters())


@pytest.mark.parametrize("family", ["bert", "xlmr", "bert-mlm"])
def test_each_role_is_a_flat_prefix_of_the_library(family: str, lab: Lab, tmp_path: Path) -> None:
    model = lab.attached(family, SMALL)
    for role in ("query", "document"):
        SMALL.activate(model, role)
        for weight in model.parameters():
            weight.grad = None
        lab.states(model).pow(2).sum().backward()
        with torch.no_grad():
            for weight in (one for one in model.parameters() if one.requires_grad and one.grad is not None):
                weight -= 1e-3 * weight.grad.sign()
    base = lab.fresh(family)
    now = dict(model.named_parameters())
    assert all(torch.equal(weight, now[name]) for name, weight in base.named_parameters())
    SMALL.save(model, tmp_path)
    again = lab.loaded(family, SMALL, tmp_path)
    for role in ("query", "document"):
        after = in_role(lab, model, SMALL, role)
        assert (after - lab.outputs(base)).abs().max() > 1e-3
        assert torch.allclose(in_role(lab, again, SMALL, role), after, atol=1e-6)
        (weight,) = load_file(tmp_path / role / "adapter.safetensors").values()
        assert weight.shape == (4 * 2 * 2 * 64,)  # positions × layers × key and value × d
        assert json.loads((tmp_path / role / "adapter_config.json").read_text())["config"]["flat"] is True
        stock = lab.fresh(family)
        adapters.init(stock)
        stock.load_adapter(str(tmp_path / role), use_safetensors=True, set_active=True)
        assert torch.allclose(lab.outputs(stock), after, atol=1e-6)


def test_not_with_gradient_checkpointing(lab: Lab) -> None:
    model = lab.attached("bert", SMALL)
    model.gradient_checkpointing_enable()
    model.train()
    with pytest.raises(ModelError, match="cannot be trained with gradient_checkpointing"):
        SMALL.activate(model, "document")


# Hybrids ----------------------------------------------------------------------------------------------------------------

LORA, PREFIX = SemiSiamese(r=2, dropout=0.0), SemiSiamesePrefix(length=4, bottleneck_size=8, shared="all")


def first_stage(lab: Lab, adaptation: Any, folder: Path) -> Path:
    """A trained adapter with the record that a build writes beside it."""
    from langadapt.artifacts import adapter as light

    model = lab.attached("bert", adaptation)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for weight in (one for one in model.parameters() if one.requires_grad):
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
    adaptation.save(model, folder)
    base = light.Base(digest="0" * 64, model_type="bert", parameters=1)
    light.save(light.AdapterRecord(adaptation.slot(), adaptation.library, base, 1, roles=adaptation.roles), folder)
    return folder


@pytest.mark.parametrize(("first", "then"), [(LORA, PREFIX), (PREFIX, LORA)], ids=["lora-then-prefix", "prefix-then-lora"])
def test_the_second_part_trains_on_the_first(first: Any, then: Any, lab: Lab, tmp_path: Path) -> None:
    over = first_stage(lab, first, tmp_path / "first-stage")
    alone = lab.loaded("bert", first, over)
    hybrid = SemiSiameseHybrid(first=first, over=str(over), then=then)
    model = lab.attached("bert", hybrid)
    trains = {name for name, weight in model.named_parameters() if weight.requires_grad}
    marks = ("lora_",) if then is LORA else ("theta", "networks")
    assert trains and all(any(mark in name for mark in marks) for name in trains)
    if then is LORA:  # it begins without effect
        for role in hybrid.roles:
            assert torch.allclose(in_role(lab, model, hybrid, role), in_role(lab, alone, first, role), atol=1e-5)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimiser = torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], lr=1e-2)
    for _ in range(2):  # the second factors of LoRA start at zero, and let nothing through to the first ones
        for role in hybrid.roles:
            hybrid.activate(model, role)
            lab.states(model).pow(2).sum().backward()
        optimiser.step()
    moved = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == trains
    hybrid.save(model, tmp_path / "hybrid")
    again = lab.loaded("bert", hybrid, tmp_path / "hybrid")
    seen = []
    for role in hybrid.roles:
        seen.append(in_role(lab, model, hybrid, role))
        assert torch.allclose(in_role(lab, again, hybrid, role), seen[-1], atol=1e-5)
        assert (seen[-1] - in_role(lab, alone, first, role)).abs().max() > 1e-3
    assert (seen[0] - seen[1]).abs().max() > 1e-3
    assert {name for name, weight in again.named_parameters() if weight.requires_grad}
    assert hybrid.identity()["over"].startswith("sha256:")


def test_hybrids_that_are_none(lab: Lab, tmp_path: Path) -> None:
    over = first_stage(lab, LORA, tmp_path / "first-stage")
    with pytest.raises(ModelError, match="both peft's"):
        SemiSiameseHybrid(first=LORA, over=str(over), then=SemiSiamese(r=4)).attach(lab.fresh("bert"))
    with pytest.raises(ModelError, match="`first` says.*Write `first` as it was trained"):
        SemiSiameseHybrid(first=SemiSiamese(r=4), over=str(over), then=PREFIX).attach(lab.fresh("bert"))
    with pytest.raises(ModelError, match="holds no trained adapter"):
        SemiSiameseHybrid(first=LORA, over=str(tmp_path), then=PREFIX).attach(lab.fresh("bert"))
    with pytest.raises(ModelError, match="another base"):
        SemiSiameseHybrid(first=LORA, over=str(over), then=PREFIX).check_base("1" * 64)
