"""``do: train`` with an objective that leaves a scorer: an encoder, or an earlier scorer, learns to read pairs."""

from __future__ import annotations

from typing import Any

import torch

from langadapt.artifacts import adapter as adapters
from langadapt.artifacts import encoder as encoders
from langadapt.artifacts import scorer as scorers
from langadapt.contracts.training import Objective
from langadapt.errors import DataError, ModelError
from langadapt.training.loop import train
from langadapt.verbs.job import Job
from langadapt.verbs.train.fitting import make_settings, rows_for, save_history, set_dropout


def run(job: Job) -> dict[str, Any]:
    stage, ctx = job.stage, job.ctx
    objective: Objective = job.slot("objective")
    torch.manual_seed(ctx.seed_for("weights"))
    source = job.need("encoder")
    if adapters.is_adapter(source):
        raise ModelError("a scorer is trained from whole weights", where=job.planned.where, hint="Merge the adapter first: {do: load}.")
    stated = encoders.settings_file(source / encoders.SETTINGS).max_length if (source / encoders.SETTINGS).is_file() else 0
    loaded = scorers.load(source, max_length=2 * stated or None)
    if stage.dropout is not None:
        set_dropout(loaded.model, stage.dropout)
    module = loaded.module()
    rows = rows_for(job, objective, loaded.tokenizer, loaded.settings.max_length, "")
    if len(rows) < 2:
        raise DataError(f"{len(rows)} training rows are too few", where=job.planned.where)
    head = objective.build(module.spec)
    job.slot("adaptation").attach(loaded.model)
    settings = make_settings(stage, len(rows))
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
    ctx.log.info(
        f"{len(rows):,} rows, {settings.steps:,} steps of {stage.batch_size}, {trained / 1e6:.2f} M weights train, {stage.precision}"
    )
    optimizer, schedule, sampler = job.slot("optimizer"), job.slot("schedule"), job.slot("sampler")
    history = train(module, head, objective, rows, loaded.tokenizer, schedule, optimizer, settings, None, ctx, sampler=sampler)
    loaded.model.to("cpu")
    scorers.save(loaded, job.folder)
    save_history(job, history, settings, rows)
    return {"type": "Scorer", "trained": trained, "steps": settings.steps}
