"""``do: export``: write the release that people download."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

from langadapt import __version__
from langadapt.artifacts import encoder as encoders
from langadapt.artifacts import release, scores
from langadapt.artifacts.files import read_json, write_json
from langadapt.artifacts.picture import score_bars
from langadapt.modeling.encoder import EncoderModule
from langadapt.stages.job import Job, slot_of


def run(job: Job) -> dict[str, Any]:
    loaded = job.encoder("encoder")
    normalizer = job.slot("normalizer")
    if normalizer is not None:
        baked = release.bake_normalizer(loaded.tokenizer, normalizer)
        loaded.settings = loaded.settings.with_(normalizer=slot_of(normalizer), normalizer_in_tokenizer=baked)
    module: EncoderModule = loaded.module(job.pooler(loaded))
    for exporter in job.slot("exporters"):
        exporter.export(module, loaded.tokenizer, loaded.settings, job.folder)
    encoders.save_settings(loaded, job.folder)
    found = scores.load(job.need("scores")) if job.one("scores") else {}
    parameters = sum(p.numel() for p in loaded.model.parameters())
    facts = {**job.planned.facts, "parameters": parameters, "max_length": loaded.settings.max_length, "width": module.width}
    facts["normalizer_in_tokenizer"] = loaded.settings.normalizer_in_tokenizer
    facts["prompt"] = loaded.settings.prompt
    facts["normalizer"] = {**slot_of(normalizer), "version": normalizer.version} if normalizer is not None else None
    facts["pooler"] = loaded.settings.pooler
    facts["trained"] = _training(job)
    if found:
        scores.save(found, job.folder)
        (job.folder / "scores.svg").write_text(score_bars(found), encoding="utf-8")
    write_json(job.folder / "provenance.json", {**facts, "environment": environment()})
    (job.folder / "README.md").write_text(release.card(facts, found), encoding="utf-8")
    release.write_sums(job.folder)
    job.ctx.log.info(f"{sum(f.stat().st_size for f in job.folder.rglob('*') if f.is_file()) / 1e6:.0f} MB")
    return {"type": "Release"}


def environment() -> dict[str, str]:
    """Versions that made the release."""
    names = ("torch", "transformers", "tokenizers", "datasets", "accelerate", "safetensors", "numpy")
    found = {name: metadata.version(name) for name in names}
    return {"langadapt": __version__, "python": platform.python_version(), "machine": platform.machine(), **found}


def _training(job: Job) -> dict[str, Any]:
    history = job.need("encoder") / "training.json"
    return read_json(history) if history.is_file() else {}
