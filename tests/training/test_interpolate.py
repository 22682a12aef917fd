"""Weights between what they were and what training made of them; by itself only where the data are generated."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from langadapt.contracts.plan import Request
from langadapt.errors import PlanError
from langadapt.planning.compile import compile_plan
from langadapt.planning.request import overrides, resource_paths
from langadapt.registry.catalog import Catalog
from langadapt.registry.registry import Registry
from langadapt.verbs.train.run import interpolate, weights_of


def test_weights_move_back_by_their_share() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    model[1].requires_grad_(False)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    kept = weights_of(model)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1.0)
    interpolate(model, kept, 0.25)
    after = model.state_dict()
    assert torch.allclose(after["0.weight"], before["0.weight"] + 0.25)
    assert torch.allclose(after["1.weight"], before["1.weight"] + 1.0)  # what does not train was not kept


def shares(request: Request, registry: Registry, catalog: Catalog) -> dict[str, float]:
    plan = compile_plan(request, registry, catalog)
    return {stage.name: stage.stage.interpolate for stage in plan.stages if stage.stage.do == "train"}  # type: ignore[attr-defined]


def test_generated_data_are_blended_and_others_are_not(registry: Registry, catalog: Catalog, pairs: dict[str, Path]) -> None:
    starter = Request(recipes=("sbert-nli-sts",), lang="mr")
    assert shares(starter, registry, catalog) == {"sbert-nli": 0.5, "sbert-sts": 0.5}
    given = tuple(f"{name}={pairs[part]}" for name, part in (("nli", "nli"), ("sts", "sts"), ("sts-test", "sts")))
    assert shares(Request(recipes=("sbert-nli-sts",), lang="mr", resources=resource_paths(given)), registry, catalog) == {
        "sbert-nli": 1.0,
        "sbert-sts": 1.0,
    }
    chosen = Request(recipes=("sbert-nli-sts",), lang="mr", overrides=overrides(("stages.sbert-nli.interpolate=1",)))
    assert shares(chosen, registry, catalog)["sbert-nli"] == 1.0


def test_an_adapter_is_not_blended(registry: Registry, catalog: Catalog) -> None:
    sets = ("stages.sbert-nli.adaptation=lora", "stages.sbert-nli.interpolate=0.5", "stages.sbert-sts.adaptation=lora")
    with pytest.raises(PlanError, match="'lora' leaves those of the base as they are"):
        compile_plan(Request(recipes=("sbert-nli-sts",), lang="mr", overrides=overrides(sets)), registry, catalog)
