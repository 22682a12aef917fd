"""Replaced tokens and next segments: the losses by hand, what gradients reach, and that both are learnt."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from langadapt_objectives.nsp import NextSentence
from langadapt_objectives.rtd import ReplacedTokens
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from langadapt.artifacts import encoder as encoders
from langadapt.contracts import Context, Models, Objective, Optimizer, Pooler, Schedule
from langadapt.errors import DataError
from langadapt.registry.registry import Registry
from langadapt.training.loop import Settings, train
from langadapt.training.tokenized import TokenizedRows

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def texts(data: Path) -> list[str]:
    with gzip.open(data / "raw" / "mr.txt.gz", "rt", encoding="utf-8") as handle:
        return [line.strip() for line in itertools.islice(handle, 300, 400)]


def parts(tiny: Path, registry: Registry, objective: Objective, texts: list[str]) -> tuple[Any, ...]:
    torch.manual_seed(0)
    loaded = encoders.load(tiny, mlm_head=False)
    module = loaded.module(registry.make(Pooler, "mean"))
    rows = objective.prepare(Dataset.from_dict({"text": texts}))
    return loaded, module, TokenizedRows.of(rows, loaded.tokenizer, 48, objective.roles(), objective.long_texts)


def fit(
    registry: Registry,
    loaded: Any,
    module: Any,
    head: Any,
    objective: Objective,
    rows: TokenizedRows,
    work: Path,
    steps: int = 40,
    rate: float = 5e-4,
) -> list[float]:
    settings = Settings(steps, 16, rate, 0.01, 4, 1.0, "fp32", 4096, 10**9, "last")
    schedule, optimizer = registry.make(Schedule, "linear"), registry.make(Optimizer, "adamw")
    found = train(module, head, objective, rows, loaded.tokenizer, schedule, optimizer, settings, None, Context(workdir=work))
    return [loss for _, loss in found.losses]


def test_replaced_tokens_by_hand(tiny: Path, registry: Registry, texts: list[str]) -> None:
    objective = ReplacedTokens(rate=0.3)
    loaded, module, rows = parts(tiny, registry, objective, texts[:8])
    head: Any = objective.build(module.spec)
    module.eval(), head.eval()
    batch = objective.collate(rows.take(range(6)), loaded.tokenizer, np.random.default_rng(0), head)
    mask_id = loaded.tokenizer.mask_token_id
    for ids, places in zip(batch.sequences, batch.extra["positions"], strict=True):
        assert all(ids[place] == mask_id for place in places)
    torch.manual_seed(5)
    found = objective.loss(Models(module, head), batch, 0)
    # The same again, text by text, from transformers' own forward passes.
    torch.manual_seed(5)
    ids, mask = module.pad(batch.sequences)
    rows_of = torch.tensor([i for i, places in enumerate(batch.extra["positions"]) for _ in places])
    at = torch.tensor([place for places in batch.extra["positions"] for place in places])
    with torch.no_grad():
        embedded = loaded.model.get_input_embeddings()(ids)
        logits = head.generator(inputs_embeds=embedded, attention_mask=mask).logits[rows_of, at]
        noise = -torch.log(-torch.log(torch.rand_like(logits).clamp(1e-9, 1 - 1e-7)))
        proposed = ids.clone()
        proposed[rows_of, at] = (logits + noise).argmax(-1)
        special = set(loaded.tokenizer.all_special_ids)
        judged, goal = [], []
        for row, real in enumerate(batch.extra["real"]):
            states = loaded.model(input_ids=proposed[row : row + 1, : len(real)]).last_hidden_state[0]
            marks = head.out(torch.nn.functional.gelu(head.dense(states)))[:, 0]
            for place, token in enumerate(real):
                if token not in special:
                    judged.append(marks[place])
                    goal.append(float(proposed[row, place] != token))
        guess = cross_entropy(logits, torch.from_numpy(batch.extra["labels"]), reduction="sum")
        told = binary_cross_entropy_with_logits(torch.stack(judged), torch.tensor(goal), reduction="sum")
    assert float(found.total.detach()) == pytest.approx(float(guess / 0.3 + 50 * told), rel=1e-4)
    assert batch.count == len(goal)
    assert 0.1 < sum(goal) / len(goal) < 0.35
    found.total.backward()
    assert loaded.model.get_input_embeddings().weight.grad.abs().sum() > 0
    assert next(head.generator.parameters()) is not None
    assert sum(float(p.grad.abs().sum()) for p in head.generator.parameters() if p.grad is not None) > 0


@pytest.mark.slow
def test_replaced_tokens_are_learnt(tiny: Path, registry: Registry, texts: list[str], tmp_path: Path) -> None:
    objective = ReplacedTokens(rate=0.15)
    loaded, module, rows = parts(tiny, registry, objective, texts)
    losses = fit(registry, loaded, module, objective.build(module.spec), objective, rows, tmp_path)
    assert losses[-1] < 0.8 * losses[0]


def test_pairs_are_read_as_transformers_reads_them(tiny: Path, registry: Registry, texts: list[str]) -> None:
    loaded, module, rows = parts(tiny, registry, NextSentence(), ["पहिले वाक्य. दुसरे वाक्य.", "तिसरे वाक्य आहे. चौथे."] * 3)
    module.eval()
    chosen = rows.take(range(2))
    with torch.no_grad():
        found = module.pair_states([row["first"] for row in chosen], [row["second"] for row in chosen]).last[:, 0]
        for (first, second), state in zip((("पहिले वाक्य.", "दुसरे वाक्य."), ("तिसरे वाक्य आहे.", "चौथे.")), found, strict=True):
            theirs = loaded.model(**loaded.tokenizer(first, second, return_tensors="pt")).last_hidden_state[0, 0]
            assert torch.allclose(state, theirs, atol=1e-5)


@pytest.mark.slow
def test_next_segments_are_learnt(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    pairs = [f"विषय {word} आहे. आपण {word} पाहतो." for word in ("पाऊस", "शाळा", "नदी", "शेत", "गाणे", "बाजार", "घर", "खेळ")]
    objective = NextSentence()
    loaded, module, rows = parts(tiny, registry, objective, pairs * 6)
    head = objective.build(module.spec)
    losses = fit(registry, loaded, module, head, objective, rows, tmp_path, 150, 2e-4)
    assert np.mean(losses[-3:]) < 0.8 * losses[0]


def test_texts_of_one_sentence_are_refused() -> None:
    with pytest.raises(DataError, match="1 of 3 texts have two sentences"):
        NextSentence().prepare(Dataset.from_dict({"text": ["एक", "दोन. तीन.", "चार"]}))


def test_segments_stand_next_to_each_other_in_scripts_without_spaces() -> None:
    rows = NextSentence(sentences=1).prepare(
        Dataset.from_dict({"text": ["今天天气好。我们去公园。她笑了！他走了。", "一。二。", "a. b. c. d. e. f."]})
    )
    assert [(row["first"], row["second"]) for row in rows] == [("我们去公园。", "她笑了！"), ("一。", "二。"), ("c.", "d.")]


@pytest.mark.parametrize("slot", ["layer-distil", {"use": "layer-distil", "attentions": True}, "mse-distil"], ids=str)
def test_a_separable_loss_is_the_sum_over_its_parts(tiny: Path, registry: Registry, texts: list[str], slot: Any) -> None:
    """However rows are cut into micro-batches, the same loss comes out."""
    objective = registry.make(Objective, slot)
    loaded = encoders.load(tiny, mlm_head=False)
    module = loaded.module(registry.make(Pooler, "mean")).eval()
    teacher = encoders.load(tiny, mlm_head=False).module(registry.make(Pooler, "mean")).eval()
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    ids = [loaded.tokenizer(text)["input_ids"] for text in ("घर", texts[0][:40], texts[1][:90], "नदी वाहते आहे")]
    rows = [{"text": one, "vector": np.full(module.width, 0.1, dtype=np.float32).tolist()} for one in ids]
    models = Models(module, objective.build(module.spec, teacher.spec), teacher)

    def loss(part: list[dict[str, Any]]) -> tuple[float, int]:
        batch = objective.collate(part, loaded.tokenizer, np.random.default_rng(0))
        return float(objective.loss(models, batch, 0).total.detach()), batch.count

    whole, parts_of = loss(rows), [loss(rows[:1]), loss(rows[1:3]), loss(rows[3:])]
    assert whole[0] > 0
    assert whole[0] == pytest.approx(sum(total for total, _ in parts_of), rel=1e-4)
    assert whole[1] == sum(count for _, count in parts_of)
