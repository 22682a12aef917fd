"""A trained adapter as something to pass on: alone, or merged into its base.

The folder is written aside and renamed once it is whole.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langadapt.artifacts import adapter as adapters
from langadapt.artifacts import encoder as encoders
from langadapt.artifacts import scores
from langadapt.contracts.data import Normalizer
from langadapt.contracts.encoder import EncoderSettings
from langadapt.contracts.results import Exporter
from langadapt.contracts.vectors import Pooler
from langadapt.errors import DataError, ModelError, RegistryError, raise_all
from langadapt.files import RECORD, damage, read_json, write_json
from langadapt.inference.reading import adapter_settings
from langadapt.modeling.digest import weights_digest
from langadapt.modeling.loading import check_safetensors
from langadapt.registry.registry import Registry
from langadapt.release import card as releases
from langadapt.release.merging import merged, servable

PROVENANCE = "provenance.json"
PASSED_ON = ("scores.json", "scores.svg")


@dataclass(frozen=True)
class Source:
    """A trained adapter to release, and its base where that is at hand."""

    folder: Path
    record: adapters.AdapterRecord
    settings: EncoderSettings
    facts: dict[str, Any]
    """What a release card states, as far as the folder knows it."""
    base: Path | None
    base_name: str
    """A Hub id, or a name people know the base by; empty where there is none."""


def read(folder: Path, base: Path | None, base_name: str, environment: dict[str, str]) -> Source:
    """A trained adapter out of the store, or one released alone.

    Args:
        folder: its folder.
        base: the folder of its base; None takes the one beside an adapter in a store, if there is one.
        base_name: what the user calls the base.
        environment: versions of what writes the release.

    Raises:
        ModelError: no adapter that langadapt trained, a damaged one, or one for another base.
    """
    if not adapters.is_adapter(folder):
        hint = "Give the folder of a trained adapter: a build's release, or a training stage's folder in the store."
        raise ModelError(f"there is no {adapters.RECORD}: this is no adapter that langadapt trained", where=str(folder), hint=hint)
    record, settings = adapters.load(folder), adapter_settings(folder)
    _check_whole(folder)
    if base is None and record.base.artifact:
        base = adapters.base_folder(folder)
    if base is not None:
        _check_base(base, record)
    facts = {**_facts(folder, record), "environment": environment}
    normalizer = _normalizer_of(facts["stages"])
    if settings.normalizer is None and normalizer is not None:
        settings = settings.with_(normalizer=normalizer, normalizer_in_tokenizer=False)
    return Source(folder, record, settings, facts, base, base_name)


def _check_base(base: Path, record: adapters.AdapterRecord) -> None:
    found = weights_digest(base)
    if found == record.base.digest:
        return
    if _quantized(base):
        raise _quantized_base(base)
    known = record.base.origin or record.base.model_type
    raise ModelError(
        f"the adapter is for another base ({known}, digest {record.base.digest[:12]}…); this one has {found[:12]}…",
        where=str(base),
        hint="Give the base it was trained on.",
    )


def _quantized(base: Path) -> bool:
    return "quantization_config" in read_json(base / "config.json")


def _quantized_base(base: Path) -> ModelError:
    return ModelError(
        "the base is quantised, and merging into quantised weights rounds away what the adapter learnt",
        where=str(base),
        hint="Give the unquantised base with --base, or release the adapter alone.",
    )


def _check_whole(folder: Path) -> None:
    """Compare a folder with the digests beside it.

    Raises:
        ModelError: a file is missing, altered or truncated.
    """
    found: list[tuple[str, str]] = []
    if (folder / releases.SUMS).is_file():
        found = list(releases.check_sums(folder))
    elif (folder / RECORD).is_file():
        found = list(damage(folder, read_json(folder / RECORD)["files"]))
    raise_all([ModelError(what, where=str(folder / name), hint="Copy or build the adapter again.") for name, what in found])
    files = [path for path in folder.rglob("*.safetensors") if path.name != adapters.CENTROID]
    if not files:
        raise ModelError("there are no adapter weights", where=str(folder), hint="Copy or build the adapter again.")
    for file in files:
        check_safetensors(file)


def _facts(folder: Path, record: adapters.AdapterRecord) -> dict[str, Any]:
    """A release's own provenance, or what the store knows of the stages before a training."""
    if (folder / PROVENANCE).is_file():
        found = read_json(folder / PROVENANCE)
        if isinstance(found, dict) and isinstance(found.get("stages"), list):
            return found
        raise ModelError("is no provenance of a release", where=str(folder / PROVENANCE), hint="Copy the adapter again.")
    history = folder / "training.json"
    return {
        "recipes": [record.adaptation["use"]],
        "papers": [],
        "language": {"code": "", "name": "", "scripts": []},
        "domain": None,
        "encoder_stage": "",
        "stages": _stages(folder),
        "resources": [],
        "engines": [],
        "trained": read_json(history) if history.is_file() else {},
    }


def _stages(folder: Path) -> list[dict[str, Any]]:
    """The stages that led to an artifact, earliest first, by their records in the store."""
    seen: dict[str, dict[str, Any]] = {}

    def visit(key: str) -> None:
        path = folder.resolve().parent / key / RECORD
        if key in seen or not path.is_file():
            return
        identity = read_json(path)["identity"]
        for keys in identity["inputs"].values():
            for one in keys if isinstance(keys, list) else [keys]:
                visit(one)
        seen[key] = {"name": key[:8], "key": key, **{part: identity[part] for part in ("do", "options", "slots", "inputs")}}

    visit(folder.resolve().name)
    return list(seen.values())


def _normalizer_of(stages: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The slot of the normalizer that the training texts went through."""
    slots = [stage["slots"].get("normalizer") for stage in stages if stage["do"] == "pair"]
    found = next((slot for slot in reversed(slots) if slot), None)
    return {key: value for key, value in found.items() if key != "version"} if found else None


@contextmanager
def aside(target: Path) -> Iterator[Path]:
    """A folder to fill, renamed to `target` when the block ends well and removed when it does not.

    Raises:
        DataError: there is something at `target` already, or no folder to write it in.
    """
    if target.exists():
        raise DataError("is there already", where=str(target), hint="Choose another folder, or remove this one first.")
    if not target.absolute().parent.is_dir():
        raise DataError("there is no such folder to write to", where=str(target.absolute().parent), hint="Make it first.")
    folder = target.absolute().with_name(f".{target.name}.{os.getpid()}.part")
    try:
        folder.mkdir()
        yield folder
        folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_alone(source: Source, folder: Path) -> None:
    """Write the adapter with its base's name and digest, a card and checksums."""
    record, facts = source.record, source.facts
    adapters.copy_weights(source.folder, folder)
    hub_id, revision = adapters.hub_origin(facts["stages"], record.base.artifact)
    if _is_hub_id(source.base_name) and source.base_name != hub_id:
        hub_id, revision = source.base_name, ""
    adapters.name_base(folder, record, hub_id, revision)
    hub_id = hub_id or facts.get("hub_base", "")  # an earlier release has it in peft's settings already
    record = adapters.without_paths(record.with_base(origin=source.base_name or record.base.origin or hub_id, artifact=""))
    adapters.save(record, folder)
    write_json(folder / encoders.SETTINGS, dataclasses.asdict(source.settings))
    told = adapters.card_facts(record, hub_id, _is_served(source), folder)
    reading = {"max_length": source.settings.max_length, "pooler": source.settings.pooler, "prompt": source.settings.prompt}
    facts = {**facts, **told, **reading}
    write_json(folder / PROVENANCE, facts)
    found = _pass_on_scores(source.folder, folder)
    (folder / "README.md").write_text(releases.adapter_card(facts, found), encoding="utf-8")
    releases.write_sums(folder)


def _is_hub_id(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "/", "~")) and not Path(name).expanduser().exists()


def _is_served(source: Source) -> bool:
    """Without the base, what the release said of itself."""
    if source.base is None:
        return bool(source.facts.get("served", True))
    return servable(source.folder, source.base)


def _pass_on_scores(source: Path, folder: Path) -> scores.Scores:
    for name in PASSED_ON:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    return scores.load(folder) if (folder / PASSED_ON[0]).is_file() else {}


def write_merged(source: Source, registry: Registry, folder: Path) -> None:
    """Write a whole sentence-transformers folder with the adapter in the base's weights.

    Raises:
        ModelError: the base is not at hand or is quantised, or the adapter has no merged form.
    """
    where = str(source.folder)
    if source.record.library == "adapters":
        raise ModelError(
            f"'{source.record.adaptation['use']}' has no merged form: it is more than a change of the base's weights",
            where=where,
            hint="Release the adapter alone (leave --merge out), or train LoRA.",
        )
    if source.base is None:
        raise ModelError("merging needs the base, which is not beside the adapter", where=where, hint="Give --base FOLDER_OR_HUB_ID.")
    if _quantized(source.base):
        raise _quantized_base(source.base)
    loaded = merged(source.folder, source.base)
    settings, normalizer = source.settings, None
    if settings.normalizer is not None and not settings.normalizer_in_tokenizer:
        normalizer = registry.make(Normalizer, settings.normalizer)
        settings = settings.with_(normalizer_in_tokenizer=releases.bake_normalizer(loaded.tokenizer, normalizer))
    loaded.settings = settings
    module = loaded.module(registry.make(Pooler, settings.pooler))
    exporter = registry.make(Exporter, registry.default(Exporter.kind))
    if exporter.subject != "Encoder" or exporter.adapter_only or exporter.needs_texts or exporter.makes_another:
        raise RegistryError(
            f"the exporter '{exporter.name}' is taken by default, and writes no whole encoder", hint="Report it to its author."
        )
    exporter.export(module, loaded.tokenizer, settings, folder)
    encoders.save_settings(loaded, folder)
    about = {
        "parameters": sum(weight.numel() for weight in loaded.model.parameters()),
        "max_length": settings.max_length,
        "width": module.width,
        "normalizer_in_tokenizer": settings.normalizer_in_tokenizer,
        "prompt": settings.prompt,
        "normalizer": {**normalizer.slot(), "version": normalizer.version} if normalizer is not None else None,
        "pooler": settings.pooler,
        "merged": dataclasses.asdict(source.record.with_base(origin=source.base_name or source.record.base.origin, artifact="")),
    }
    facts = {**source.facts, **about}
    write_json(folder / PROVENANCE, facts)
    found = _pass_on_scores(source.folder, folder)
    (folder / "README.md").write_text(releases.card(facts, found), encoding="utf-8")
    releases.write_sums(folder)


def known_name(given: str) -> str:
    """A base as the user named it, for other people: a Hub id as it is, a folder by its last name."""
    return given if _is_hub_id(given) else Path(given).expanduser().resolve().name
