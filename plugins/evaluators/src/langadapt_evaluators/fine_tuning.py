"""A classifier that is the encoder with a linear layer, every weight trained: how often, how fast, from what it begins."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from langadapt.contracts import Batch, Columns, Context, Loss, Models, Objective, Role, Row
from langadapt.contracts.loop import AdamW, Linear, Settings, TokenizedRows, resolve_precision, steps_per_epoch, train
from langadapt.contracts.reading import Labelled, from_rows

if TYPE_CHECKING:
    from langadapt.contracts import Adaptation, Embeds

DROPOUT, SPREAD = 0.1, 0.02
"""Of the linear layer, as BERT's classifiers have them (and both papers keep)."""


@dataclass(frozen=True)
class Rules:
    """What of an evaluator's options decides a run; see :class:`langadapt_evaluators.classification.Classification`."""

    epochs: float
    least_steps: int
    most_epochs: float
    batch_size: int
    learning_rate: float
    adaptation: Adaptation | None


def steps_of(rules: Rules, rows: int) -> int:
    """Optimiser steps of a run: `epochs`, or for few rows `least_steps`, though never beyond `most_epochs`."""
    epoch = steps_per_epoch(rows, rules.batch_size)
    return max(1, round(rules.epochs * epoch), min(rules.least_steps, round(rules.most_epochs * epoch)))


def fine_tuned(
    encoder: Embeds, train_rows: Labelled, goal: np.ndarray, unseen: list[tuple[str, ...]], rules: Rules, seed: int, ctx: Context
) -> np.ndarray:
    """Classes (n,) of the unseen texts, by a copy of the encoder that was trained with one seed.

    Args:
        goal: (n_train,) class of each row to learn from.
    """
    names = ("sentence1", "sentence2") if len(train_rows.texts[0]) == 2 else ("text",)
    rows = _tokenized(encoder, names, train_rows.texts, goal)
    make = partial(_head, parts=4 if len(names) == 2 else 1, classes=int(goal.max()) + 1)
    run = Run(steps_of(rules, len(rows)), rules.batch_size, rules.learning_rate, rules.adaptation)
    module, head = trained(encoder, make, _Classify(texts=names), rows, run, f"fine-tune {seed}", ctx)
    ids = _tokenized(encoder, names, unseen, None)
    with torch.inference_mode():
        vectors = [module.embed([row[name] for row in ids.take(range(len(ids)))], 8192) for name in names]
        guess: np.ndarray = head(_joined(vectors)).argmax(-1).cpu().numpy()
    return guess


@dataclass(frozen=True)
class Run:
    """How long and how fast a copy of an encoder is trained."""

    steps: int
    batch_size: int
    learning_rate: float
    adaptation: Adaptation | None = None


def trained(
    encoder: Embeds, head_of: Callable[[int], nn.Module], objective: Objective, rows: TokenizedRows, run: Run, purpose: str, ctx: Context
) -> tuple[Any, Any]:
    """A copy of an encoder and a head on it, trained together and ready to be asked.

    Args:
        head_of: makes the head for vectors of a width.
        purpose: what the seed is drawn for.
    """
    # A folder of its own each time: checkpoints of another encoder's run must not be taken for this one's.
    work = tempfile.TemporaryDirectory(dir=ctx.workdir)
    own = replace(ctx, seed=ctx.seed_for(purpose) % 2**31, workdir=Path(work.name))
    torch.manual_seed(own.seed_for("head"))
    module: Any = encoder.trainable_copy()
    if run.adaptation is not None:
        run.adaptation.attach(module.model)
    head = head_of(module.width)
    settings = Settings(
        run.steps, run.batch_size, run.learning_rate, 0.01, run.steps // 10, 1.0, resolve_precision("auto"), 4096, 10**9, "last"
    )
    with work:
        train(module, head, objective, rows, encoder.tokenizer, Linear(), AdamW(), settings, None, own, alone=True)
    module.eval()
    head.eval()
    return module, head


def linear_layer(width: int, classes: int) -> nn.Linear:
    """As BERT's classifiers and taggers begin: small weights, no bias."""
    linear = nn.Linear(width, classes)
    nn.init.normal_(linear.weight, std=SPREAD)
    nn.init.zeros_(linear.bias)
    return linear


def _head(width: int, parts: int, classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Dropout(DROPOUT), linear_layer(parts * width, classes))


def _tokenized(encoder: Embeds, names: tuple[str, ...], texts: list[tuple[str, ...]], goal: np.ndarray | None) -> TokenizedRows:
    rows: list[dict[str, Any]] = [dict(zip(names, one, strict=True)) for one in texts]
    if goal is not None:
        rows = [{**row, "goal": int(one)} for row, one in zip(rows, goal, strict=True)]
    length, prompt = encoder.settings.max_length, encoder.settings.prompt
    return TokenizedRows.of(from_rows(rows), encoder.tokenizer, length, dict.fromkeys(names, Role.TEXT), prompt=prompt)


class _Classify(Objective):
    """Cross-entropy of a linear layer on the vector, or on a pair's."""

    name: ClassVar[str] = "classify"
    columns: ClassVar[tuple[Columns, ...]] = ()

    texts: tuple[str, ...]

    def collate(self, rows: list[Row], tokenizer: Any, rng: np.random.Generator, head: Any = None) -> Batch:
        return Batch([row[name] for name in self.texts for row in rows], len(rows), {"goal": [row["goal"] for row in rows]})

    def loss(self, models: Models, batch: Batch, step: int) -> Loss:
        vectors = models.encoder.embed(batch.sequences)
        parts = [vectors[i * batch.count : (i + 1) * batch.count] for i in range(len(self.texts))]
        logits = models.head(_joined(parts)).float()
        return Loss(cross_entropy(logits, torch.tensor(batch.extra["goal"], device=logits.device), reduction="sum"))


def _joined(vectors: list[torch.Tensor]) -> torch.Tensor:
    """(n, d), or for a pair (n, 4d): u, v, |u − v|, u·v."""
    if len(vectors) == 1:
        return vectors[0]
    u, v = vectors
    return torch.cat([u, v, (u - v).abs(), u * v], -1)
