"""``do: train``: one objective, one adaptation, one loop."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from langadapt.artifacts import dataset
from langadapt.artifacts import encoder as encoders
from langadapt.artifacts.encoder import LoadedEncoder
from langadapt.artifacts.files import read_json, write_json
from langadapt.contracts.training import Models, Objective, Sampler
from langadapt.errors import DataError, ModelError
from langadapt.inference.encoder import Encoder
from langadapt.modeling.encoder import EncoderModule
from langadapt.stages.job import Job
from langadapt.stages.light import Light
from langadapt.training.loop import Settings, Validation, train
from langadapt.training.rows import train_rows
from langadapt.training.tokenized import TokenizedRows, steps_per_epoch

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast

HISTORY = "training.json"


def run(job: Job) -> dict[str, Any]:
    if job.slot("objective").leaves == "Scorer":
        from langadapt.stages import train_scorer

        return train_scorer.run(job)
    stage, objective, adaptation, ctx = job.stage, job.slot("objective"), job.slot("adaptation"), job.ctx
    torch.manual_seed(ctx.seed_for("weights"))
    light = Light.of(job) if adaptation.light else None
    loaded = light.base if light else job.encoder("encoder", mlm_head=bool(objective.needs_mlm_head))
    if job.slot("pooler") is not None:
        loaded.choose_pooler(job.slot("pooler").slot())
    if stage.dropout is not None:
        set_dropout(loaded.model, stage.dropout)
    encoder = loaded.module(job.pooler(loaded))
    rows = tokenized(job, loaded, objective)
    teacher = _teacher(job, objective, loaded)
    own = replace(encoder.spec, output_width=encoder.width)
    head = objective.build(own, teacher.spec if teacher else None)
    if light:
        light.attach(encoder, rows)
    else:
        adaptation.attach(loaded.model)
        if adaptation.new_rows:
            if loaded.origins is None:
                raise ModelError(
                    "the encoder's vocabulary is its own: it has no new rows to train",
                    where=job.planned.where,
                    hint="Put this stage after an init-vocab stage.",
                )
            train_rows(loaded.model, loaded.origins.fresh())
    if stage.gradient_checkpointing:
        loaded.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    held: TokenizedRows | None = None
    if stage.holdout:
        rows, held = rows.split(stage.holdout, ctx.rng("holdout"))
    if len(rows) < 2:
        raise DataError(f"{len(rows)} training rows are too few", where=job.planned.where)
    settings = make_settings(stage, len(rows))
    trained = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
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
    told = {"steps": settings.steps, "truncated": rows.truncated, "remarks": remarks(job)}
    write_json(job.folder / HISTORY, {**told, **dataclasses.asdict(history)})
    return {"type": "Encoder", "trained": trained, "steps": settings.steps}


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
            hint="Take a teacher of the same tokenizer, or distil its vectors: annotate them, then train with 'mse-distil'.",
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


def remarks(job: Job) -> list[str]:
    """What the readers of this stage's data, and of the stages before it, had to say."""
    earlier = job.need("encoder") / HISTORY
    before = read_json(earlier).get("remarks", []) if earlier.is_file() else []
    return list(dict.fromkeys([*before, *dataset.load(job.need("data")).about.get("remarks", [])]))


def tokenized(job: Job, loaded: LoadedEncoder, objective: Objective) -> TokenizedRows:
    """The stage's data, checked and reshaped by the objective, as token ids."""
    return rows_for(job, objective, loaded.tokenizer, loaded.settings.max_length, loaded.settings.prompt)


def rows_for(job: Job, objective: Objective, tokenizer: PreTrainedTokenizerFast, length: int, prompt: str) -> TokenizedRows:
    """As :func:`tokenized`, for any tokenizer, maximum length and prompt."""
    table = dataset.load(job.need("data"))
    data = objective.prepare(table.rows)
    if job.slot("sampler") is not None:
        data = _with_columns(data, table.rows, job.slot("sampler"), job)
    if len(data) < 2:
        raise DataError(f"{len(data)} rows are left for '{objective.name}'", where=job.planned.where, hint="It needs at least two.")
    rows = TokenizedRows.of(data, tokenizer, length, objective.roles(), objective.long_texts, prompt, objective.word_ends())
    if rows.truncated:
        job.ctx.log.warning(f"{rows.truncated:,} texts are longer than {length} tokens and were truncated")
    return rows


def _with_columns(data: Dataset, rows: Dataset, sampler: Sampler, job: Job) -> Dataset:
    """The objective's rows with the columns that the sampler looks at.

    Raises:
        DataError: the data have no such column, or the objective made other rows of them.
    """
    for name in sampler.reads():
        if name not in rows.column_names:
            raise DataError(
                f"the sampler '{sampler.name}' looks at '{name}', and the data have ({', '.join(rows.column_names)})",
                where=job.planned.where,
                hint=f"Add it: an annotate stage before this one, with the annotator '{sampler.name}'.",
            )
        if name not in data.column_names:
            if len(data) != len(rows):
                raise DataError(
                    f"the sampler '{sampler.name}' looks at '{name}', and the objective makes other rows", where=job.planned.where
                )
            data = data.add_column(name, rows[name])
    return data


def make_settings(stage: Any, rows: int) -> Settings:
    """The loop's settings, epochs turned into steps."""
    per_epoch = steps_per_epoch(rows, stage.batch_size)
    steps = stage.steps or max(1, round(stage.epochs * per_epoch))
    return Settings(
        steps=steps,
        batch_size=stage.batch_size,
        learning_rate=stage.learning_rate,
        weight_decay=stage.weight_decay,
        warmup=round(stage.warmup * steps),
        clip=stage.clip,
        precision=stage.precision,
        tokens_per_batch=stage.tokens_per_batch,
        evaluate_every=stage.evaluate_every or per_epoch,
        keep=stage.keep,
        mega_batch=stage.mega_batch,
        # How often a checkpoint is written changes no result; tests that kill a build want it often.
        checkpoint_seconds=float(os.environ.get("LANGADAPT_CHECKPOINT_SECONDS", "60")),
    )


def set_dropout(model: Any, rate: float) -> None:
    """Set every dropout of a model, as module and as config value."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = rate
        for name in ("dropout_prob", "attention_dropout", "attention_probs_dropout_prob"):  # read by attention kernels
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, rate)


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
