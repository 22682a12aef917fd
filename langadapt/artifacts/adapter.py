"""A light encoder on disk: adapter weights in their library's own files, and ``adapter.json`` with the base they belong to.

Layout: one adapter's files stand in the folder itself, so that its own library loads the folder as it is; a pair of modules
(query, document) stands in subfolders by role.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from langadapt.errors import ModelError
from langadapt.files import read_json, write_json
from langadapt.modeling.loading import check_safetensors
from langadapt.settings_files import read_settings_file

RECORD, CENTROID, SETUP = "adapter.json", "centroid.safetensors", "adapter_setup.json"


@dataclass(frozen=True)
class Base:
    """The encoder an adapter was trained on."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    digest: str
    """:func:`langadapt.modeling.digest.weights_digest` of its body."""
    model_type: str
    parameters: int
    origin: str = ""
    """A Hub id or a name people know it by."""
    artifact: str = ""
    """Name of its folder beside the adapter's, in a store."""


@dataclass(frozen=True)
class AdapterRecord:
    """What ``adapter.json`` states; the annotations are its schema."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    adaptation: dict[str, Any]
    """The slot of the adaptation that trained it."""
    library: str
    """``peft`` or ``adapters``: who wrote the weights."""
    base: Base
    trained: int
    """Weights trained and saved."""
    quantization: str | None = None
    """``8bit`` or ``4bit`` when the base was quantised in training."""
    roles: tuple[str, ...] = ()
    """Subfolders with a module each; empty when there is one, in the folder itself."""
    schema: int = 1

    def with_base(self, **changes: Any) -> AdapterRecord:
        return dataclasses.replace(self, base=dataclasses.replace(self.base, **changes))


def is_adapter(folder: Path) -> bool:
    """True for a folder that holds an adapter and not a whole encoder."""
    return (folder / RECORD).is_file()


def save(record: AdapterRecord, folder: Path) -> None:
    """Write ``adapter.json``."""
    write_json(folder / RECORD, dataclasses.asdict(record))


def load(folder: Path) -> AdapterRecord:
    """Read ``adapter.json``.

    Raises:
        ModelError: it is missing, malformed, or of a later version.
    """
    path = folder / RECORD
    stated = read_settings_file(path)
    if stated.get("schema") != 1:
        raise ModelError(f"adapter.json has schema {stated.get('schema')!r}"[:100] + ", this version reads 1", where=str(path))
    try:
        found = TypeAdapter(AdapterRecord).validate_json(json.dumps(stated))
    except ValidationError as error:
        problem = error.errors()[0]
        name, value = ".".join(map(str, problem["loc"])), repr(problem.get("input"))[:80]
        raise ModelError(f"its '{name}' is {value}: {problem['msg'].lower()}", where=str(path), hint="Copy the adapter again.") from error
    for role in (*found.roles, *([found.base.artifact] if found.base.artifact else ())):
        if "/" in role or role.startswith("."):
            raise ModelError(f"names a folder '{role[:80]}', which lies outside its own", where=str(path), hint="Copy the adapter again.")
    if not isinstance(found.adaptation.get("use"), str):
        raise ModelError("its 'adaptation' names no component ('use')", where=str(path), hint="Copy the adapter again.")
    return found


def record_of(folder: Path) -> AdapterRecord | None:
    """The record of an adapter's folder, or of the folder above for one role's; None for a foreign adapter."""
    if is_adapter(folder):
        return load(folder)
    above = folder.parent
    if is_adapter(above) and folder.name in (record := load(above)).roles:
        return record
    return None


def base_folder(folder: Path) -> Path:
    """Where the base of an adapter in a store lies.

    Raises:
        ModelError: it is not beside the adapter.
    """
    record = load(folder)
    base = folder.resolve().parent / record.base.artifact
    if not record.base.artifact or not (base / "config.json").is_file():
        known = f" ('{record.base.origin}')" if record.base.origin else ""
        raise ModelError(
            f"is an adapter, and its base{known} is not beside it",
            where=str(folder),
            hint="Load the base with Encoder.load(BASE), then call add_adapter(NAME, FOLDER).",
        )
    return base


def save_centroid(vector: Any, folder: Path) -> None:
    """Write the mean unit vector (d,) of the training texts, by which a router chooses."""
    import torch
    from safetensors.torch import save_file

    save_file({"centroid": torch.as_tensor(vector, dtype=torch.float32)}, str(folder / CENTROID))


def load_centroid(folder: Path, width: int) -> np.ndarray | None:
    """The centroid (d,) float32, or None when the adapter has none.

    Args:
        folder: the adapter's, or one role's.
        width: d of the base's vectors.

    Raises:
        ModelError: it is truncated, or no vector of that width.
    """
    from safetensors.numpy import load_file

    place = folder if (folder / CENTROID).is_file() else folder.parent
    file = place / CENTROID
    if not file.is_file() or not is_adapter(place):
        return None
    check_safetensors(file)
    found = load_file(str(file)).get("centroid")
    again = "Copy the adapter again."
    if found is None:
        raise ModelError("holds no 'centroid'", where=str(file), hint=again)
    if found.shape != (width,):
        raise ModelError(f"the centroid has the shape {found.shape}, and the base's vectors {width} values", where=str(file), hint=again)
    if not np.isfinite(found).all():
        raise ModelError("the centroid holds values that are no numbers", where=str(file), hint=again)
    return np.asarray(found, dtype=np.float32)


OWN = (RECORD, CENTROID, "encoder.json")


def copy_weights(folder: Path, target: Path) -> None:
    """Copy an adapter's files, and nothing of the training around them."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            shutil.copytree(path, target / path.name)
        elif path.name.startswith("adapter") or path.name in OWN or path.suffix == ".safetensors":
            shutil.copy2(path, target / path.name)


def hub_origin(stages: Iterable[Mapping[str, Any]], key: str) -> tuple[str, str]:
    """(Hub id, commit) of a base that a stage took from the Hub as it is; two empty strings for any other.

    Args:
        stages: what a release's facts say of the stages before it.
        key: of the stage whose encoder is the base.
    """
    stage = next((one for one in stages if one["key"] == key), None)
    if stage is None or stage["do"] != "load" or stage["inputs"]:
        return "", ""
    options = stage["options"]
    source = (options.get("source") or {}).get("source") or {}
    if "hub" not in source or options.get("layers") is not None or options.get("weights") == "random":
        return "", ""
    return str(source["hub"]), str(source.get("revision", ""))


def name_base(folder: Path, record: AdapterRecord, hub_id: str, revision: str) -> None:
    """Write into peft's own settings where on the Hub the base is, so that ``AutoPeftModel`` finds it.

    Nothing is written where it is not on the Hub: a folder of this machine says nothing to anybody else.
    """
    from transformers import CONFIG_MAPPING, MODEL_MAPPING

    if record.library != "peft" or not hub_id:
        return
    family = MODEL_MAPPING[CONFIG_MAPPING[record.base.model_type]]
    known = {"base_model_class": family.__name__, "parent_library": family.__module__}
    for part in [folder / role for role in record.roles] or [folder]:
        stated = read_json(part / "adapter_config.json")
        stated |= {"base_model_name_or_path": hub_id, "revision": revision or None, "auto_mapping": known}
        text = json.dumps(stated, indent=2, sort_keys=True)
        (part / "adapter_config.json").write_text(text + "\n", encoding="utf-8")


def card_facts(record: AdapterRecord, hub_id: str, served: bool, folder: Path) -> dict[str, Any]:
    """What a card says of an adapter released alone.

    Args:
        record: as released.
        hub_id: of the base, empty where it is not on the Hub.
        served: langadapt serves it, and not its own library alone.
        folder: the release's.
    """
    composition = (folder / SETUP).is_file()
    return {
        "adapter": dataclasses.asdict(record),
        "hub_base": hub_id,
        "served": served,
        "composition": composition,
        "parts": _parts(folder),
    }


def _parts(folder: Path) -> dict[str, str]:
    """Subfolder of either library's part that acts in the first role, where an adapter has a part of each (a hybrid); else nothing."""
    files = {"peft": "adapter_model.safetensors", "adapters": "adapter.safetensors"}
    places = [f"{part}{role}" for part in ("first", "then") for role in ("/query", "")]
    found = {library: [place for place in places if (folder / place / name).is_file()] for library, name in files.items()}
    return {library: parts[0] for library, parts in found.items()} if all(found.values()) else {}


def without_paths(record: AdapterRecord) -> AdapterRecord:
    """The record without folders of this machine: of trained adapters that it stands on, their names alone."""
    return dataclasses.replace(record, adaptation=_named(record.adaptation))


def _named(slot: Any) -> Any:
    if isinstance(slot, dict):
        return {key: _names(value) if key == "over" else _named(value) for key, value in slot.items()}
    return [_named(one) for one in slot] if isinstance(slot, list) else slot


def _names(over: Any) -> Any:
    return [Path(str(one)).name for one in over] if isinstance(over, list) else Path(str(over)).name
