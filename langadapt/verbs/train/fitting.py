"""What training encoders and training scorers share: rows, settings, dropout, and the record of what happened."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

import torch

from langadapt.artifacts import dataset
from langadapt.contracts.training import Objective, Sampler
from langadapt.errors import DataError
from langadapt.files import read_json, write_json
from langadapt.training.loop import History, Settings
from langadapt.training.tokenized import TokenizedRows, steps_per_epoch
from langadapt.verbs.job import Job

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast

HISTORY = "training.json"


def rows_for(job: Job, objective: Objective, tokenizer: PreTrainedTokenizerFast, length: int, prompt: str) -> TokenizedRows:
    """The stage's data, checked and reshaped by the objective, as token ids."""
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
    """The objective's rows with the columns that the sampler looks at, which the plan has seen in the data.

    Raises:
        DataError: the objective made other rows of them.
    """
    for name in sampler.reads():
        if name in data.column_names:
            continue
        if len(data) != len(rows):
            what = f"the sampler '{sampler.name}' looks at '{name}', and the objective makes other rows of the data"
            raise DataError(what, where=job.planned.where)
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


def save_history(job: Job, history: History, settings: Settings, rows: TokenizedRows) -> None:
    """Write what happened beside the weights, with what the readers of the data, here and in stages before, had to say."""
    earlier = job.need("encoder") / HISTORY
    before = read_json(earlier).get("remarks", []) if earlier.is_file() else []
    remarks = list(dict.fromkeys([*before, *dataset.load(job.need("data")).about.get("remarks", [])]))
    told = {"steps": settings.steps, "truncated": rows.truncated, "remarks": remarks}
    write_json(job.folder / HISTORY, {**told, **dataclasses.asdict(history)})
