"""8-bit optimisers: they step, and a checkpoint holds all they know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from langadapt_lora.optimizers import AdamW8bit, Lion8bit, PagedAdamW8bit

from langadapt.registry.registry import Registry
from langadapt.training.checkpoints import Checkpoints
from langadapt.training.optimizer import parameter_groups

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIMIZERS: list[Any] = [AdamW8bit, PagedAdamW8bit, Lion8bit]
GENERATOR = torch.Generator().manual_seed(0)
X, Y = torch.randn(32, 64, generator=GENERATOR), torch.randn(32, 64, generator=GENERATOR)


def model() -> torch.nn.Module:
    """8,192 weights a matrix, which take 8-bit moments, and small ones that do not."""
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.Tanh(), torch.nn.LayerNorm(128), torch.nn.Linear(128, 64))


def steps(module: torch.nn.Module, optimizer: torch.optim.Optimizer, count: int) -> list[float]:
    losses = []
    for _ in range(count):
        optimizer.zero_grad()
        loss = (module(X) - Y).pow(2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_stopped_run_resumes_bit_for_bit(kind: Any, tmp_path: Path) -> None:
    rate = 1e-3 if kind is Lion8bit else 3e-3
    whole = model()
    optimizer = kind().build(parameter_groups(whole, 0.01), rate)
    losses = steps(whole, optimizer, 14)
    assert losses[-1] < 0.8 * losses[0]
    moments = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, torch.Tensor)]
    assert any(value.dtype == torch.uint8 for value in moments), "large tensors have 8-bit moments"

    half = model()
    first = kind().build(parameter_groups(half, 0.01), rate)
    assert steps(half, first, 6) == losses[:6]
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(6, half, first, {"note": 1})
    place = checkpoints.newest()
    assert place is not None
    again = model()
    with torch.no_grad():
        for weight in again.parameters():
            weight.zero_()
    second = kind().build(parameter_groups(again, 0.01), rate)
    assert checkpoints.load(place, again, second)["step"] == 6
    assert steps(again, second, 8) == losses[6:]
    for name, weight in whole.named_parameters():
        assert torch.equal(weight, dict(again.named_parameters())[name]), name


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_close_to_its_whole_form(kind: Any) -> None:
    """The same updates as in full precision, a little rounded."""
    rounded = model()
    steps(rounded, kind(beta1=0.9).build(parameter_groups(rounded, 0.0), 1e-3), 10)
    start, whole = model(), model()
    if kind is Lion8bit:
        momentum = {name: torch.zeros_like(weight) for name, weight in whole.named_parameters()}
        for _ in range(10):
            whole.zero_grad()
            (whole(X) - Y).pow(2).mean().backward()
            with torch.no_grad():
                for name, weight in whole.named_parameters():
                    assert weight.grad is not None
                    weight -= 1e-3 * torch.sign(0.9 * momentum[name] + 0.1 * weight.grad)
                    momentum[name] = 0.99 * momentum[name] + 0.01 * weight.grad
    else:
        steps(whole, torch.optim.AdamW(whole.parameters(), lr=1e-3, weight_decay=0.0), 10)

    def moved(one: torch.nn.Module) -> torch.Tensor:
        pairs = zip(one.parameters(), start.parameters(), strict=True)
        return torch.cat([(a - b).detach().flatten() for a, b in pairs])

    assert torch.cosine_similarity(moved(rounded), moved(whole), dim=0) > 0.98


def test_options_reach_the_library(registry: Registry) -> None:
    module = model()
    built: Any = registry.build("optimizer", {"use": "adamw-8bit", "beta2": 0.95, "epsilon": 1e-6})
    group = built.build(parameter_groups(module, 0.25), 1e-4).param_groups[0]
    assert (tuple(group["betas"]), group["eps"], group["weight_decay"], group["lr"]) == ((0.9, 0.95), 1e-6, 0.25, 1e-4)
    lion: Any = registry.build("optimizer", {"use": "lion-8bit", "beta1": 0.8})
    assert tuple(lion.build(parameter_groups(module, 0.0), 1e-4).param_groups[0]["betas"])[:2] == (0.8, 0.99)
    assert registry.build("optimizer", "paged-adamw-8bit").name == "paged-adamw-8bit"
