"""``do: export``: write the release that people download."""

from __future__ import annotations

import dataclasses
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from langadapt.artifacts import adapter as adapters
from langadapt.artifacts import dataset, scores
from langadapt.artifacts import encoder as encoders
from langadapt.artifacts import scorer as scorers
from langadapt.contracts.encoder import EncoderSettings
from langadapt.errors import ModelError
from langadapt.files import RECORD, read_json, write_json
from langadapt.modeling.encoder import EncoderModule
from langadapt.release import card as release
from langadapt.release.merging import servable
from langadapt.reports.picture import score_bars
from langadapt.verbs.evaluate.contamination import SEEN, sentence
from langadapt.verbs.evaluate.run import unscored_in
from langadapt.verbs.job import Job
from langadapt.version import __version__


def run(job: Job) -> dict[str, Any]:
    source = job.need("encoder")
    if adapters.is_adapter(source) and all(exporter.adapter_only for exporter in job.slot("exporters")):
        facts, width = _adapter(job, source), None
    elif scorers.is_scorer(source):
        facts, width = _scorer(job, source), None
    else:
        facts, width = _encoder(job)
    found = scores.load(job.need("scores")) if job.one("scores") else {}
    seen = _seen(job.need("scores")) if found else []
    unscored = unscored_in(job.need("scores")) if found else []
    made = {"trained": _training(job), "rows": _rows(job), "environment": environment()}
    facts = {**job.planned.facts, **facts, "seen": seen, "unscored": unscored, **made}
    if found:
        scores.save(found, job.folder)
        (job.folder / "scores.svg").write_text(score_bars(found), encoding="utf-8")
    write_json(job.folder / "provenance.json", facts)
    card = release.scorer_card if "pair_length" in facts else release.card if width is not None else release.adapter_card
    (job.folder / "README.md").write_text(card(facts, found), encoding="utf-8")
    release.write_sums(job.folder)
    size = sum(f.stat().st_size for f in job.folder.rglob("*") if f.is_file()) / 1e6
    job.ctx.log.info(f"{size:.0f} MB" if size >= 10 else f"{size:.1f} MB")
    return {"type": "Release"}


def _seen(folder: Path) -> list[str]:
    """A sentence for each test of which an encoder saw rows in training."""
    told = read_json(folder / SEEN) if (folder / SEEN).is_file() else {}
    return [line for encoder, entries in told.items() for entry in entries if (line := sentence(entry, encoder))]


def _encoder(job: Job) -> tuple[dict[str, Any], int]:
    """Write a whole encoder; returns the facts of its card and the width of its vectors."""
    loaded = job.encoder("encoder")
    normalizer = job.slot("normalizer")
    if normalizer is not None:
        baked = release.bake_normalizer(loaded.tokenizer, normalizer)
        loaded.settings = loaded.settings.with_(normalizer=normalizer.slot(), normalizer_in_tokenizer=baked)
    module: EncoderModule = loaded.module(job.pooler(loaded))
    table = dataset.load(job.need("data")) if job.one("data") else None
    parameters, width = sum(p.numel() for p in loaded.model.parameters()), module.width
    settings = loaded.settings
    for exporter in job.slot("exporters"):
        texts = table.texts() if table is not None and exporter.needs_texts else None
        written = exporter.export(module, loaded.tokenizer, settings, job.folder, texts)
        if written is not None:
            parameters, width, settings = written.parameters, written.width, written.settings
    if settings is loaded.settings:
        encoders.save_settings(loaded, job.folder)
    else:  # another encoder than the stage's: nothing but its settings goes along
        write_json(job.folder / encoders.SETTINGS, dataclasses.asdict(settings))
    facts = {
        "parameters": parameters,
        "max_length": settings.max_length,
        "width": width,
        "normalizer_in_tokenizer": settings.normalizer_in_tokenizer,
        "tokenizer_code": [path.name for path in sorted(job.folder.glob("tokenization_*.py"))],
        "in_peer": (job.folder / "modules.json").is_file() or _plain_mean(settings, module),
        "gives": module.pooler.gives if settings is loaded.settings else "dense",
        "output": settings.output,
        "prompt": settings.prompt,
        "normalizer": {**normalizer.slot(), "version": normalizer.version} if normalizer is not None else None,
        "pooler": settings.pooler,
        "vocabulary": {"method": loaded.origins.method, "counts": loaded.origins.counts()} if loaded.origins is not None else None,
    }
    return facts, width


def _plain_mean(settings: EncoderSettings, module: EncoderModule) -> bool:
    """Whether a checkpoint without modules.json gives the same vectors in sentence-transformers, which takes their mean."""
    return settings.pooler == {"use": "mean"} and not len(module.transforms) and settings.output is None and not settings.normalize


def _scorer(job: Job, source: Path) -> dict[str, Any]:
    """Write a scorer; returns the facts of its card."""
    loaded = scorers.load(source)
    settings = EncoderSettings(max_length=loaded.settings.max_length)
    normalizer = job.slot("normalizer")
    if normalizer is not None and not release.bake_normalizer(loaded.tokenizer, normalizer):
        raise ModelError(
            f"the normalizer '{normalizer.name}' cannot be written into a tokenizer, and nothing else would apply it to a scorer's texts",
            where=job.planned.where,
            hint="Train the scorer on texts that did not go through it, or release an encoder.",
        )
    for exporter in job.slot("exporters"):
        exporter.export(loaded.module(), loaded.tokenizer, settings, job.folder)
    write_json(job.folder / scorers.SETTINGS, loaded.settings.model_dump())
    parameters = sum(p.numel() for p in loaded.model.parameters())
    return {"parameters": parameters, "pair_length": loaded.settings.max_length}


def _adapter(job: Job, source: Path) -> dict[str, Any]:
    """Write an adapter alone, naming its base as people know it."""
    for exporter in job.slot("exporters"):
        exporter.export_adapter(source, job.folder)
    facts, record = job.planned.facts, adapters.load(source)
    hub_id, revision = adapters.hub_origin(facts["stages"], record.base.artifact)
    adapters.name_base(job.folder, record, hub_id, revision)
    origin = next((r["origin"] or r["from"] for r in facts["resources"] if r["name"] == "encoder"), "")
    record = adapters.without_paths(record.with_base(origin=origin, artifact=""))
    adapters.save(record, job.folder)
    settings, _ = encoders.read_settings(source)
    normalizer = job.slot("normalizer")
    if normalizer is not None:  # the base's tokenizer knows nothing of it: the encoder applies it to the adapter's texts
        settings = settings.with_(normalizer=normalizer.slot(), normalizer_in_tokenizer=False)
        write_json(job.folder / encoders.SETTINGS, dataclasses.asdict(settings))
    told = adapters.card_facts(record, hub_id, servable(source), job.folder)
    return {**told, "max_length": settings.max_length, "pooler": settings.pooler, "prompt": settings.prompt}


def environment() -> dict[str, str]:
    """Versions that made the release."""
    names = ("torch", "transformers", "tokenizers", "datasets", "accelerate", "safetensors", "numpy")
    found = {name: metadata.version(name) for name in names}
    return {"langadapt": __version__, "python": platform.python_version(), "machine": platform.machine(), **found}


def _rows(job: Job) -> dict[str, int]:
    """Rows of the data stages that led to the release, by key, from their records beside the encoder's in the store."""
    found = {}
    for stage in job.planned.facts["stages"]:
        record = job.need("encoder").parent / stage["key"] / RECORD
        if stage["do"] in ("pair", "collect") and record.is_file():
            found[stage["key"]] = int(read_json(record)["rows"])
    return found


def _training(job: Job) -> dict[str, Any]:
    history = job.need("encoder") / "training.json"
    return read_json(history) if history.is_file() else {}
