"""A light encoder on disk: adapter weights in their library's own files, and ``adapter.json`` with the base they belong to.

Layout: one adapter's files stand in the folder itself, so that its own library loads the folder as it is; a pair of modules
(query, document) stands in subfolders by role.
"""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langadapt.artifacts.files import read_json, write_json
from langadapt.errors import ModelError, StoreError

RECORD, CENTROID = "adapter.json", "centroid.safetensors"


@dataclass(frozen=True)
class Base:
    """The encoder an adapter was trained on."""

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
    """What ``adapter.json`` states."""

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
    try:
        stated = dict(read_json(path))
        if stated.get("schema") != 1:
            raise ModelError(f"adapter.json has schema {stated.get('schema')}, this version reads 1", where=str(path))
        return AdapterRecord(**{**stated, "base": Base(**stated["base"]), "roles": tuple(stated["roles"])})
    except (StoreError, TypeError, KeyError, ValueError) as error:
        raise ModelError(f"cannot be read: {error}", where=str(path), hint="Copy the adapter again.") from error


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


def load_centroid(folder: Path) -> Any | None:
    """The centroid (d,) float32 as numpy, or None when the adapter has none."""
    from safetensors.numpy import load_file

    place = folder if (folder / CENTROID).is_file() else folder.parent
    if not (place / CENTROID).is_file() or not is_adapter(place):
        return None
    return load_file(str(place / CENTROID))["centroid"]


OWN = (RECORD, CENTROID, "encoder.json")


def copy_weights(folder: Path, target: Path) -> None:
    """Copy an adapter's files, and nothing of the training around them."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            shutil.copytree(path, target / path.name)
        elif path.name.startswith("adapter") or path.name in OWN or path.suffix == ".safetensors":
            shutil.copy2(path, target / path.name)
