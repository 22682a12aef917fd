"""``do: load``: bring a checkpoint in, or take over an earlier stage's encoder with another pooler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from langadapt.artifacts import encoder as encoders
from langadapt.artifacts.encoder import LoadedEncoder
from langadapt.contracts.encoder import EncoderSettings
from langadapt.data.fetch import fetch
from langadapt.errors import ModelError
from langadapt.modeling.layers import keep_layers, random_weights
from langadapt.modeling.surgery import agree_on_inputs, disagreements, give_padding, size_of
from langadapt.verbs.job import Job


def run(job: Job) -> dict[str, Any]:
    source = job.stage.source
    folder = job.need("encoder") if source is None else _folder(job)
    loaded = job.encoder("encoder") if source is None else encoders.load(folder)
    if job.stage.layers is not None or job.stage.weights == "random":
        loaded = _reshaped(loaded, folder, job)
    if job.slot("pooler") is not None:
        loaded.choose_pooler(job.slot("pooler").slot())
    settings = loaded.settings
    settings = settings.with_(max_length=_length(job, settings, loaded))
    if source is not None and source.prompt:
        settings = settings.with_(prompt=source.prompt)
    loaded.settings = settings
    if job.slot("pooler") is not None and loaded.pooling is None:
        torch.manual_seed(job.ctx.seed_for("weights"))
        loaded.module(job.pooler(loaded))  # a pooler with weights begins with these, whoever loads it
    _check(loaded, folder, job)
    if job.slot("embedding") is not None:
        torch.manual_seed(job.ctx.seed_for("embedding"))
        loaded.choose_embedding(job.slot("embedding").slot())
        loaded.compute_rows(job.slot("embedding"))
    agree_on_inputs(loaded.tokenizer, loaded.model)
    give_padding(loaded.tokenizer)
    encoders.save(loaded, job.folder)
    parameters = sum(p.numel() for p in loaded.model.parameters())
    job.ctx.log.info(f"{loaded.model.config.model_type}, {parameters / 1e6:.1f} M weights, {len(loaded.tokenizer):,} tokens")
    return {"type": "Encoder", "parameters": parameters}


def _length(job: Job, settings: EncoderSettings, loaded: LoadedEncoder) -> int:
    """The stage's maximum length, within what the encoder's positions have room for; by default its own, and 128 at most."""
    wanted = job.stage.max_length
    if wanted is None:
        return min(settings.max_length, USUAL_LENGTH)
    found = encoders.longest_text(wanted, loaded.tokenizer, loaded.model)
    if found < wanted:
        job.ctx.log.warning(f"{wanted} tokens a text are asked for, and the encoder's positions end at {found}: texts are cut there")
    return found


USUAL_LENGTH = 128
"""Tokens a text is cut at while nobody asks for more: sentences fit, and attention stays cheap."""

SPARE = 1024
"""Rows without a token that a checkpoint may have: matrices are padded to a multiple of at most that."""


def _check(loaded: LoadedEncoder, folder: Path, job: Job) -> None:
    """Refuse a tokenizer that cannot be the weights' own."""
    rows, size = loaded.model.get_input_embeddings().weight.shape[0], size_of(loaded.tokenizer)
    hint = "Tokenizer and weights do not belong together: take both from one checkpoint."
    if rows - size > SPARE:
        raise ModelError(
            f"the tokenizer has {size:,} entries, and the embedding matrix {rows:,} rows: {rows - size:,} would stand for no token",
            where=str(folder),
            hint=hint,
        )
    differing = disagreements(loaded.tokenizer, loaded.model)
    if len(differing) > 1:
        raise ModelError(f"special tokens differ: {'; '.join(differing)}", where=str(folder), hint=hint)
    if differing:
        job.ctx.log.warning(f"{folder.name}: {differing[0]}; the tokenizer's is used")


def _reshaped(loaded: LoadedEncoder, folder: Path, job: Job) -> LoadedEncoder:
    """The encoder with fewer layers, or with weights of its own."""
    stage, before = job.stage, loaded.model.config.num_hidden_layers
    if stage.weights == "random":
        fresh = encoders.load(folder, mlm_head=True).model
        fresh.config.num_hidden_layers = stage.layers or before
        loaded.model = random_weights(fresh, job.ctx.seed_for("weights"))
        loaded.choose_embedding(None)
        job.ctx.log.info(f"{stage.layers or before} layers, random weights")
    else:
        kept = keep_layers(loaded.model, stage.layers)
        job.ctx.log.info(f"layers kept: {', '.join(str(i + 1) for i in kept)} of {before}")
    return loaded


def _folder(job: Job) -> Path:
    folders = fetch(job.stage.source, job.ctx)
    if len(folders) != 1:
        raise ModelError("a base is one folder or Hub id", where=", ".join(map(str, folders)))
    return folders[0]
