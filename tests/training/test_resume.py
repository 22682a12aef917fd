"""The loop: a stopped run resumes bit for bit, micro-batches change nothing, freezing freezes, order is by seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset

from langadapt.artifacts import encoder as encoders
from langadapt.contracts.component import Context
from langadapt.registry.registry import Registry
from langadapt.training.loop import History, Settings, Validation, train
from langadapt.training.sampling import bucketed, epoch_order
from langadapt.training.tokenized import TokenizedRows

pytestmark = pytest.mark.usefixtures("one_thread")

PAIRS = [
    ("एक माणूस गिटार वाजवत आहे.", "कोणीतरी गिटार वाजवत आहे.", 0.9),
    ("मुले मैदानात खेळत आहेत.", "मैदानावर मुले खेळतात.", 0.95),
    ("ती बाजारात भाजी विकते.", "ती बाजारात फळे विकते.", 0.6),
    ("आज पुण्यात खूप पाऊस पडला आणि रस्ते तुंबले.", "काल मुंबईत ऊन होते.", 0.2),
    ("शिक्षक वर्गात शिकवत आहेत.", "एक माणूस गाडी चालवत आहे.", 0.1),
    ("गव्हाची किंमत वाढली.", "गहू महाग झाला.", 0.9),
]
SETTINGS = Settings(8, 3, 1e-4, 0.01, 1, 1.0, "fp32", 4096, 4, "last", mega_batch=1)


def run(
    tiny: Path,
    registry: Registry,
    work: Path,
    settings: Settings = SETTINGS,
    adaptation: Any = "full",
    validate: Any = None,
    dropout: float | None = None,
) -> tuple[dict[str, torch.Tensor], History]:
    """Train the small encoder on the pairs; returns its weights."""
    loaded = encoders.load(tiny, mlm_head=False)
    for module in loaded.model.modules():
        if dropout is not None and isinstance(module, torch.nn.Dropout):
            module.p = dropout
    registry.build("adaptation", adaptation).attach(loaded.model)  # type: ignore[attr-defined]
    rows = Dataset.from_list([{"sentence1": a, "sentence2": b, "score": c} for a, b, c in PAIRS])
    objective: Any = registry.build("objective", "cosine-sts")
    data = TokenizedRows.of(rows, loaded.tokenizer, 64, objective.roles())
    schedule: Any = registry.build("schedule", "linear")
    encoder = loaded.module(registry.build("pooler", "mean"))
    work.mkdir(exist_ok=True)
    optimizer: Any = registry.build("optimizer", "adamw")
    context = Context(workdir=work)
    history = train(encoder, None, objective, data, loaded.tokenizer, schedule, optimizer, settings, validate, context)
    return {name: value.detach().clone() for name, value in loaded.model.named_parameters()}, history


def test_a_stopped_run_resumes_bit_for_bit(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    whole, history = run(tiny, registry, tmp_path / "whole")

    calls = 0

    def stop(_: Any) -> Validation:
        nonlocal calls
        calls += 1
        raise KeyboardInterrupt

    broken = replace(SETTINGS, checkpoint_steps=3, evaluate_every=5)
    with pytest.raises(KeyboardInterrupt):
        run(tiny, registry, tmp_path / "parts", broken, validate=stop)
    assert (tmp_path / "parts" / "checkpoints" / "step-000000003").is_dir()
    resumed, again = run(tiny, registry, tmp_path / "parts", broken)
    assert calls == 1
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert again.losses == history.losses


def test_micro_batches_leave_the_gradient_as_it_is(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    one_step = replace(SETTINGS, steps=1, batch_size=6, warmup=0)
    whole, _ = run(tiny, registry, tmp_path / "a", one_step, dropout=0.0)
    parts, _ = run(tiny, registry, tmp_path / "b", replace(one_step, tokens_per_batch=24), dropout=0.0)
    # Adam's first step has the size of the learning rate whatever the gradient: compare where gradients are not noise.
    worst = max(float((whole[name] - parts[name]).abs().median()) for name in whole)
    assert worst < 1e-6


@pytest.mark.parametrize(
    ("adaptation", "moves"),
    [
        ({"use": "freeze", "train": "embeddings"}, lambda name: "word_embeddings" in name),
        ({"use": "freeze", "train": "body"}, lambda name: "word_embeddings" not in name and "pooler" not in name),
        ({"use": "freeze", "train": "top", "layers": 1}, lambda name: "layer.1." in name),
    ],
)
def test_frozen_weights_stay(tiny: Path, registry: Registry, tmp_path: Path, adaptation: Any, moves: Any) -> None:
    before = dict(encoders.load(tiny, mlm_head=False).model.named_parameters())
    after, _ = run(tiny, registry, tmp_path / "a", adaptation=adaptation)
    for name, value in after.items():
        if not moves(name):
            assert torch.equal(value, before[name]), name
    assert any(not torch.equal(value, before[name]) for name, value in after.items() if moves(name))


def test_best_weights_are_kept(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    values = iter([1.0, 5.0, 2.0, 3.0])
    seen: list[torch.Tensor] = []

    def validate(encoder: Any) -> Validation:
        seen.append(encoder.model.encoder.layer[0].output.dense.weight.detach().clone())
        return Validation("made up", next(values), True)

    settings = replace(SETTINGS, evaluate_every=2, keep="best")
    after, history = run(tiny, registry, tmp_path / "a", settings, validate=validate)
    assert history.best_step == 4
    assert torch.equal(after["encoder.layer.0.output.dense.weight"], seen[1])


def test_orders_are_permutations_by_seed_and_epoch() -> None:
    order = epoch_order(1000, 0, 7)
    assert sorted(order) == list(range(1000))
    assert np.array_equal(order, epoch_order(1000, 0, 7))
    assert not np.array_equal(order, epoch_order(1000, 1, 7))
    assert not np.array_equal(order, epoch_order(1000, 0, 8))
    lengths = np.random.default_rng(0).integers(5, 100, 1000)
    found = bucketed(order, lengths, 32, 8, 7, 0)
    assert sorted(found) == list(range(1000))
    spread = [np.ptp(lengths[found[i : i + 32]]) for i in range(0, 960, 32)]
    assert np.mean(spread) < 0.3 * np.mean([np.ptp(lengths[order[i : i + 32]]) for i in range(0, 960, 32)])
