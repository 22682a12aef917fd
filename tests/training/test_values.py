"""Values of the loop that a fault would change in silence: seeds, rates, orders, groups, schedules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset

from langadapt.artifacts import encoder as encoders
from langadapt.contracts import Context, Objective, Optimizer, Pooler, Schedule
from langadapt.registry.registry import Registry
from langadapt.training.loop import Settings, Step, _Run, step_seed
from langadapt.training.optimizer import parameter_groups
from langadapt.training.tokenized import Ragged, TokenizedRows
from langadapt.verbs.train.fitting import set_dropout

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = Settings(10, 4, 1e-3, 0.01, 2, 1.0, "fp32", 4096, 10**9, "last", mega_batch=1)
TEXTS = ["एक माणूस गिटार वाजवत आहे आणि गात आहे", "मुले मैदानात रोज सकाळी खेळत आहेत", "आज पाऊस पडला आणि शाळा बंद आहे", "शेतकरी शेतात काम करतो"]


@pytest.mark.parametrize(
    ("name", "warmup", "expected"),
    [
        ("linear", 2, [0.5, 1.0, 1.0, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
        ("linear", 0, [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]),
        ("constant", 4, [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1]),
        ("constant", 0, [1.0] * 10),
        ("cosine", 2, [0.5, 1.0, *(0.5 + 0.5 * np.cos(np.pi * t / 8) for t in range(8))]),
        ({"use": "cosine", "floor": 0.2}, 0, [0.6 + 0.4 * np.cos(np.pi * t / 10) for t in range(10)]),
        ({"use": "wsd", "decay": 0.4, "shape": "linear"}, 2, [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]),
        ({"use": "wsd", "decay": 0.4}, 2, [0.5, 1, 1, 1, 1, 1, 1, 0.5, 1 - 0.5**0.5, 1 - 0.75**0.5]),
        ({"use": "wsd", "decay": 1.0, "shape": "linear"}, 5, [0.2, 0.4, 0.6, 0.8, 1, 1, 0.8, 0.6, 0.4, 0.2]),
    ],
)
def test_schedules(registry: Registry, name: Any, warmup: int, expected: list[float]) -> None:
    schedule = registry.make(Schedule, name)
    assert [schedule.factor(step, 10, warmup) for step in range(10)] == pytest.approx(expected)


def started(tiny: Path, registry: Registry, work: Path, name: str = "mlm", dropout: float = 0.0, seed: int = 42, rows: int = 4) -> Any:
    """A run over the same rows at every step."""
    torch.manual_seed(0)
    objective = registry.make(Objective, name)
    loaded = encoders.load(tiny, mlm_head=objective.needs_mlm_head)
    set_dropout(loaded.model, dropout)
    table: dict[str, Any] = {"text": (TEXTS * 30)[:rows]}
    if name == "cosine-sts":
        table = {"sentence1": table["text"], "sentence2": table["text"][::-1], "score": [0.5] * rows}
    data = TokenizedRows.of(objective.prepare(Dataset.from_dict(table)), loaded.tokenizer, 64, objective.roles(), objective.long_texts)
    module = Step(loaded.module(registry.make(Pooler, "mean")), None, objective, None)
    schedule, optimizer = registry.make(Schedule, "linear"), registry.make(Optimizer, "adamw")
    ctx = Context(workdir=work, seed=seed)
    return _Run(module, objective, data, loaded.tokenizer, schedule, optimizer, SETTINGS, None, ctx, False, None)


def test_two_steps_on_the_same_rows_hide_other_tokens(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    run = started(tiny, registry, tmp_path)
    seen = []
    collate = type(run.objective).collate

    class Watched(type(run.objective)):  # type: ignore[misc]
        def collate(self, *args: Any) -> Any:
            batch = collate(run.objective, *args)
            seen.append(sorted(map(tuple, batch.extra["positions"])))
            return batch

    run.objective = Watched()
    run._step(0), run._step(1)
    assert seen[0] != seen[1]
    again = started(tiny, registry, tmp_path)
    again.objective = Watched()
    again._step(0)
    assert seen[2] == seen[0]
    other = started(tiny, registry, tmp_path, seed=43)
    other.objective = Watched()
    other._step(0)
    assert seen[3] != seen[0]


def test_two_steps_on_the_same_rows_drop_other_units(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    def losses(dropout: float, steps: tuple[int, int]) -> list[float]:
        run = started(tiny, registry, tmp_path, "cosine-sts", dropout)
        run.prepared = type("Still", (), {"step": lambda self: None, "zero_grad": lambda self, **_: None})()
        run.module.train()
        return [run._step(step) for step in steps]

    still = losses(0.0, (0, 1))
    assert still[0] == pytest.approx(still[1], rel=1e-5)
    dropped = losses(0.3, (0, 1))
    assert abs(dropped[0] - dropped[1]) > 1e-4
    same = losses(0.3, (1, 1))
    assert same[0] == same[1]
    assert len({step_seed(seed, step, rank) for seed in (1, 2) for step in range(5) for rank in (0, 1)}) == 20


def test_the_rate_of_a_step_is_the_schedules(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    run = started(tiny, registry, tmp_path, "cosine-sts")
    for step, factor in ((0, 0.5), (1, 1.0), (5, 5 / 8), (9, 1 / 8)):
        run._step(step)
        assert [group["lr"] for group in run.optimizer.param_groups] == pytest.approx([1e-3 * factor] * 2)


def test_the_order_of_rows_follows_the_plans_seed(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    orders = []
    for seed in (1, 1, 2):
        run = started(tiny, registry, tmp_path, "cosine-sts", seed=seed, rows=40)
        orders.append([run._rows(step).tolist() for step in range(10)])
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert sorted(row for rows in orders[0] for row in rows) == list(range(40))


def test_no_decay_on_norms_and_biases(tiny: Path) -> None:
    model = encoders.load(tiny, mlm_head=False).model
    model.embeddings.position_embeddings.weight.requires_grad_(False)
    model.embeddings.word_embeddings.weight.decays = False
    decayed, plain = parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    names = {id(weight): name for name, weight in model.named_parameters()}
    assert {names[id(weight)] for weight in plain["params"]} == {
        name
        for name, weight in model.named_parameters()
        if weight.requires_grad and (name.endswith("bias") or "LayerNorm" in name or "word_embeddings" in name)
    }
    assert any("query.weight" in names[id(weight)] for weight in decayed["params"])
    assert "embeddings.position_embeddings.weight" not in {names[id(w)] for g in (decayed, plain) for w in g["params"]}


def test_token_ids_take_four_bytes_and_come_back(tiny: Path, registry: Registry) -> None:
    tokenizer = encoders.load(tiny, mlm_head=False).tokenizer
    roles = registry.make(Objective, "listwise-distil").roles()
    rows = [
        {"anchor": TEXTS[0], "candidates": TEXTS[1:3], "scores": [0.1, 0.9]},
        {"anchor": None, "candidates": [], "scores": []},
        {"anchor": TEXTS[3], "candidates": [TEXTS[0]], "scores": [1.0]},
    ]
    found = TokenizedRows.of(Dataset.from_list(rows), tokenizer, 64, roles)
    assert found[0]["anchor"] == tokenizer(TEXTS[0])["input_ids"]
    assert found[0]["candidates"] == tokenizer(TEXTS[1:3])["input_ids"]
    assert (found[1]["anchor"], found[1]["candidates"]) == (None, [])
    assert found[2]["scores"] == [1.0]
    texts = [[*TEXTS[:3]], [], [TEXTS[3], TEXTS[0]]]
    lengths = [[len(tokenizer(text)["input_ids"]) for text in row] for row in texts]
    assert found.lengths().tolist() == [sum(one) for one in lengths]
    assert found.longest().tolist() == [max(one, default=1) for one in lengths]
    kept, held = found.split(0.34, np.random.default_rng(0))
    assert sorted(map(repr, kept.take(range(len(kept))) + held.take(range(len(held))))) == sorted(map(repr, found.take(range(3))))
    many = Ragged.of([list(range(i % 40)) for i in range(5000)])
    assert (many.flat.nbytes + many.ends.nbytes) / len(many.flat) <= 5
