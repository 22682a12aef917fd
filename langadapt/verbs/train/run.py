"""``do: train``: one objective, one adaptation, one loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from langadapt.artifacts import encoder as encoders
from langadapt.artifacts.encoder import LoadedEncoder
from langadapt.contracts.training import Adaptation, Models, Objective
from langadapt.contracts.vocabulary import Embedding
from langadapt.errors import DataError, ModelError
from langadapt.inference.encoder import Encoder
from langadapt.modeling.encoder import EncoderModule
from langadapt.training.loop import Validation, train
from langadapt.training.rows import train_rows
from langadapt.training.tokenized import TokenizedRows
from langadapt.verbs.job import Job
from langadapt.verbs.train import scorer as train_scorer
from langadapt.verbs.train.fitting import make_settings, rows_for, save_history, set_dropout
from langadapt.verbs.train.light import Light


def run(job: Job) -> dict[str, Any]:
    if job.slot("objective").leaves == "Scorer":
        return train_scorer.run(job)
    stage, objective, adaptation, ctx = job.stage, job.slot("objective"), job.slot("adaptation"), job.ctx
    torch.manual_seed(ctx.seed_for("weights"))
    light = Light.of(job) if adaptation.light else None
    loaded = light.base if light else job.encoder("encoder", mlm_head=bool(objective.needs_mlm_head))
    if job.slot("pooler") is not None:
        loaded.choose_pooler(job.slot("pooler").slot())
    if stage.dropout is not None:
        set_dropout(loaded.model, stage.dropout)
    if loaded.settings.embedding is not None and not light:
        loaded.compute_rows(job.registry.make(Embedding, loaded.settings.embedding))
    encoder = loaded.module(job.pooler(loaded))
    rows = rows_for(job, objective, loaded.tokenizer, loaded.settings.max_length, loaded.settings.prompt)
    teacher = _teacher(job, objective, loaded)
    own = replace(encoder.spec, output_width=encoder.width)
    head = objective.build(own, teacher.spec if teacher else None)
    if light:
        light.attach(encoder, rows)
    else:
        _attach(job, adaptation, loaded)
    if stage.gradient_checkpointing:
        loaded.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    held: TokenizedRows | None = None
    if stage.holdout:
        rows, held = rows.split(stage.holdout, ctx.rng("holdout"))
    if len(rows) < 2:
        raise DataError(f"{len(rows)} training rows are too few", where=job.planned.where)
    settings = make_settings(stage, len(rows))
    trained = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    if not trained:
        raise ModelError(
            f"'{adaptation.name}' leaves no weight of this encoder to train",
            where=job.planned.where,
            hint="Input rows that are computed from spellings do not train: train the body, or all of it.",
        )
    share = f" ({100 * trained / light.parameters:.2f} % of the base)" if light else ""
    training = f"{trained / 1e6:.2f} M weights train{share}"
    if loaded.origins is not None and adaptation.new_rows:
        training = f"the rows of {len(loaded.origins.fresh()):,} new tokens train"
    ctx.log.info(f"{len(rows):,} rows, {settings.steps:,} steps of {stage.batch_size}, {training}, {stage.precision}")
    validate = _validator(job, loaded, encoder, objective, head, held, teacher)
    optimizer, schedule = job.slot("optimizer"), job.slot("schedule")
    before = weights_of(loaded.model) if stage.interpolate < 1 else {}
    history = train(
        encoder,
        head,
        objective,
        rows,
        loaded.tokenizer,
        schedule,
        optimizer,
        settings,
        validate,
        ctx,
        teacher=teacher,
        sampler=job.slot("sampler"),
    )
    if light:
        light.save(trained)
    else:
        loaded.model.to("cpu")
        interpolate(loaded.model, before, stage.interpolate)
        encoders.save(loaded, job.folder)
    save_history(job, history, settings, rows)
    return {"type": "Encoder", "trained": trained, "steps": settings.steps}


def _attach(job: Job, adaptation: Adaptation, loaded: LoadedEncoder) -> None:
    """Mark the weights of the encoder itself that train.

    Raises:
        ModelError: new rows alone are to train, and there are none.
    """
    adaptation.attach(loaded.model)
    if not adaptation.new_rows:
        return
    if loaded.settings.embedding is not None:
        raise ModelError(
            "new rows alone are to train, and this encoder's input rows are computed from spellings",
            where=job.planned.where,
            hint="Train the body (adaptation: {use: freeze, train: body}), or all of it.",
        )
    if loaded.origins is None:
        raise ModelError(
            "the encoder's vocabulary is its own: it has no new rows to train",
            where=job.planned.where,
            hint="Put this stage after an init-vocab stage.",
        )
    train_rows(loaded.model, loaded.origins.fresh())


def _teacher(job: Job, objective: Objective, student: LoadedEncoder) -> EncoderModule | None:
    """The second encoder that the loss asks, reading the same token ids.

    Raises:
        ModelError: the student's tokenizer has a token that the teacher has no row for, or their tokens differ.
    """
    if not objective.needs_teacher:
        return None
    loaded = job.encoder("teacher", mlm_head=objective.needs_mlm_head)
    if loaded.tokenizer.get_vocab() != student.tokenizer.get_vocab():
        raise ModelError(
            f"'{objective.name}' asks the teacher for the states of the student's tokens, and their vocabularies differ",
            where=job.planned.where,
            hint="Take a teacher of the same tokenizer, or learn its vectors, which an annotate stage computes.",
        )
    return loaded.module(job.pooler(loaded))


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    """A copy of the weights that train, by name; a head that no checkpoint had is left out, being noise until it trains."""
    kept = ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad and not getattr(weight, "fresh", False))
    return {name: weight.detach().cpu().clone() for name, weight in kept}


@torch.no_grad()
def interpolate(model: Any, before: dict[str, torch.Tensor], share: float) -> None:
    """Move a model's weights back towards what they were: ``before + share · (now − before)``."""
    for name, weight in model.named_parameters():
        if name in before:
            weight.copy_(torch.lerp(before[name], weight, share))


def _validator(
    job: Job,
    loaded: LoadedEncoder,
    encoder: EncoderModule,
    objective: Objective,
    head: Any,
    held: TokenizedRows | None,
    teacher: EncoderModule | None,
) -> Callable[[EncoderModule], Validation] | None:
    """Measure an evaluator's first score, or else the loss on held-out rows."""
    evaluator = job.slot("validation")
    if evaluator is not None:

        def by_evaluator(module: EncoderModule) -> Validation:
            score = evaluator.evaluate(Encoder(loaded, module), job.ctx)[0]
            return Validation(f"{score.task} {score.metric}", score.value, score.higher_is_better)

        return by_evaluator
    if held is None:
        return None

    def by_loss(module: EncoderModule) -> Validation:
        return Validation("held-out loss", mean_loss(module, head, objective, held, loaded.tokenizer, job, teacher), False)

    return by_loss


@torch.no_grad()
def mean_loss(
    encoder: EncoderModule, head: Any, objective: Objective, held: TokenizedRows, tokenizer: Any, job: Job, teacher: EncoderModule | None
) -> float:
    """Mean loss per term over held-out rows; every call collates (masks) them the same way."""
    rng = np.random.default_rng(job.ctx.seed_for("validation"))
    gather, encoder.gather = encoder.gather, lambda rows: rows
    value = count = 0.0
    for start in range(0, len(held), job.stage.batch_size):
        batch = objective.collate(held.take(range(start, min(start + job.stage.batch_size, len(held)))), tokenizer, rng, head)
        value += float(objective.loss(Models(encoder, head, teacher), batch, 0).total)
        count += batch.count
    encoder.gather = gather
    return value / max(count, 1.0)
