"""Top layers that begin anew: which weights change, to what, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from langadapt_objectives.reinit_top import ReinitTop

from langadapt.artifacts import encoder as encoders
from langadapt.errors import ModelError


def test_the_top_alone_begins_anew(tiny: Path) -> None:
    before = encoders.load(tiny).model.state_dict()
    model = encoders.load(tiny).model
    torch.manual_seed(3)
    ReinitTop(layers=1).attach(model)
    assert all(weight.requires_grad for weight in model.parameters())
    for name, weight in model.state_dict().items():
        if "encoder.layer.1." not in name:
            assert torch.equal(weight, before[name]), name
        elif "LayerNorm.weight" in name:
            assert torch.equal(weight, torch.ones_like(weight))
        elif name.endswith("bias"):
            assert not weight.any(), name
        else:
            assert weight.std().item() == pytest.approx(model.config.initializer_range, rel=0.02), name
    again = encoders.load(tiny).model
    torch.manual_seed(3)
    ReinitTop(layers=1).attach(again)
    assert all(torch.equal(weight, again.state_dict()[name]) for name, weight in model.state_dict().items())


def test_what_it_refuses(tiny: Path) -> None:
    model = encoders.load(tiny).model
    with pytest.raises(ModelError, match="the encoder has 2: nothing would be kept"):
        ReinitTop(layers=2).attach(model)
    model.config.initializer_range = None
    with pytest.raises(ModelError, match="does not say how its weights are drawn"):
        ReinitTop(layers=1).attach(model)
