"""Weighted masking: what is badly predicted is hidden more, the rate holds, and its memory outlives a kill."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from langadapt_objectives.weighted import TokenLosses, Weighted

from langadapt.artifacts import encoder as encoders
from langadapt.contracts import Context, Models, Optimizer, Pooler, Schedule
from langadapt.registry.registry import Registry
from langadapt.training.loop import Settings, Validation, train
from langadapt.training.tokenized import TokenizedRows

pytestmark = pytest.mark.usefixtures("one_thread")

TEXTS = ["एक माणूस गिटार वाजवत आहे", "मुले मैदानात खेळत आहेत", "आज पाऊस पडला आणि शाळा बंद आहे", "शेतकरी शेतात काम करतो", "ती गाते"] * 6
SETTINGS = Settings(8, 10, 1e-3, 0.01, 1, 1.0, "fp32", 4096, 10**9, "last")


def test_means_of_losses_by_token() -> None:
    memory = TokenLosses(6)
    memory.learn(torch.tensor([2, 2, 4]), torch.tensor([1.0, 3.0, 8.0]), keep=0.5)
    assert memory.losses.tolist() == [0, 0, 2, 0, 8, 0]
    memory.learn(torch.tensor([2]), torch.tensor([6.0]), keep=0.5)
    assert memory.losses.tolist() == [0, 0, 4, 0, 8, 0]
    assert memory.seen.tolist() == [0, 0, 3, 0, 1, 0]
    assert memory.weights().tolist() == [6, 6, 4, 6, 8, 6]  # the unknown count as the mean of the known


def test_chances_follow_the_weights_at_the_rate() -> None:
    weights = np.array([1.0, 1.0, 2.0, 4.0, 100.0])
    found = Weighted(rate=0.4)._chances(weights)
    assert found.sum() == pytest.approx(0.4 * 5)
    assert found.max() == pytest.approx(0.9)
    assert found[2] / found[0] == pytest.approx(2)
    assert found[3] / found[0] == pytest.approx(4)
    assert Weighted(rate=0.3)._chances(np.ones(50)) == pytest.approx(np.full(50, 0.3))


def run(tiny: Path, registry: Registry, work: Path, settings: Settings, validate: Any = None) -> tuple[dict[str, Any], TokenLosses]:
    torch.manual_seed(0)
    loaded = encoders.load(tiny, mlm_head=True)
    objective = Weighted(rate=0.3)
    data = TokenizedRows.of(Dataset.from_dict({"text": TEXTS}), loaded.tokenizer, 64, objective.roles(), "split")
    module = loaded.module(registry.make(Pooler, "mean"))
    head: Any = objective.build(module.spec)
    work.mkdir(exist_ok=True)
    schedule, optimizer = registry.make(Schedule, "linear"), registry.make(Optimizer, "adamw")
    train(module, head, objective, data, loaded.tokenizer, schedule, optimizer, settings, validate, Context(workdir=work))
    return {name: value.detach().clone() for name, value in loaded.model.named_parameters()}, head


def test_a_stopped_run_resumes_bit_for_bit_with_its_memory(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    whole, memory = run(tiny, registry, tmp_path / "whole", SETTINGS)
    assert float(memory.seen.sum()) > 50

    def stop(_: Any) -> Validation:
        raise KeyboardInterrupt

    broken = replace(SETTINGS, checkpoint_steps=3, evaluate_every=5)
    with pytest.raises(KeyboardInterrupt):
        run(tiny, registry, tmp_path / "parts", broken, stop)
    resumed, again = run(tiny, registry, tmp_path / "parts", broken)
    assert torch.equal(memory.losses, again.losses)
    assert torch.equal(memory.seen, again.seen)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_what_is_predicted_badly_is_hidden_more(tiny: Path, registry: Registry) -> None:
    loaded = encoders.load(tiny, mlm_head=True)
    objective = Weighted(rate=0.3)
    data = TokenizedRows.of(Dataset.from_dict({"text": TEXTS}), loaded.tokenizer, 64, objective.roles(), "split")
    memory = TokenLosses(len(loaded.tokenizer))
    rows = data.take(range(len(data)))
    hard, easy = rows[0]["text"][1], rows[0]["text"][2]
    memory.seen += 1
    memory.losses += 1.0
    memory.losses[hard], memory.losses[easy] = 3.0, 0.1
    hidden = {hard: 0, easy: 0}
    for seed in range(40):
        batch = objective.collate(rows, loaded.tokenizer, np.random.default_rng(seed), memory)
        for label in batch.extra["labels"].tolist():
            if label in hidden:
                hidden[label] += 1
    assert hidden[hard] > 5 * hidden[easy]
    module = loaded.module(registry.make(Pooler, "mean"))
    memory.eval()  # a validation must not teach it
    before = memory.losses.clone()
    objective.loss(Models(module, memory), batch, 0)
    assert torch.equal(memory.losses, before)
