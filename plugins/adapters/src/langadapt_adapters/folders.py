"""Saved adapters on disk: everything that can be wrong with a folder, found before the library opens it.

Left to itself the library falls back to a pickle where the safetensors file is missing, keeps random weights where the file has
none, and copies any weight it finds into the model, the base's included.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langadapt.contracts.checkpoints import adapters, check_safetensors
from langadapt.errors import ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

logger = logging.getLogger("langadapt")

CONFIG, WEIGHTS, PICKLE = "adapter_config.json", "adapter.safetensors", "pytorch_adapter.bin"
SETUP = "adapter_setup.json"
FUSION_CONFIG, FUSION_WEIGHTS = "adapter_fusion_config.json", "model_adapter_fusion.safetensors"

BOTTLENECK, PREFIX = "bottleneck", "prefix_tuning"
ARCHITECTURES = {BOTTLENECK: None, PREFIX: "prefix_tuning"}
"""What the library writes as `architecture` of each method."""


def check_adapter(folder: Path, base: PretrainedConfig, method: str) -> dict[str, Any]:
    """Settings of the adapter in `folder` (the library's own dictionary), checked against the base's.

    Raises:
        ModelError: missing, truncated, pickled, another library's, another method's or another encoder's.
    """
    saved = read_json(folder, CONFIG)
    if "peft_type" in saved:
        raise ModelError(f"was saved by peft ({saved['peft_type']}), not by adapters", where=str(folder), hint="Load it as LoRA.")
    settings, name = saved.get("config"), saved.get("name")
    if not isinstance(settings, dict) or not isinstance(name, str):
        raise ModelError("does not describe an adapter: 'config' or 'name' is missing", where=str(folder / CONFIG))
    architecture = settings.get("architecture")
    if architecture != ARCHITECTURES[method]:
        raise ModelError(f"holds {architecture or BOTTLENECK}, not {method}", where=str(folder), hint="Name the adaptation that made it.")
    for key, mine in (("model_type", base.model_type), ("hidden_size", base.hidden_size)):
        if saved.get(key) != mine:
            raise ModelError(
                f"was trained on an encoder with {key} {saved.get(key)}, and this one has {mine}",
                where=str(folder),
                hint="Load it on the encoder it was trained on.",
            )
    check_weights(folder, WEIGHTS, re.compile(rf"(^|[._])(adapters|prefix_tunings)\.{re.escape(name)}\."))
    return settings


def check_digest(folder: Path, digest: str) -> None:
    """Compare the base that a trained adapter names with the base at hand.

    Args:
        folder: the adapter's.
        digest: :func:`langadapt.modeling.digest.weights_digest` of the base at hand.

    Raises:
        ModelError: the adapter was trained on other weights; its sizes alone would not tell.
    """
    record = next((adapters.load(place) for place in (folder, folder.parent) if adapters.is_adapter(place)), None)
    if record is None:
        logger.warning("the adapter %s states no base digest: only its sizes are checked against this base", folder)
    elif record.base.digest != digest:
        known = record.base.origin or record.base.model_type
        raise ModelError(
            f"the adapter is for another base ({known}, digest {record.base.digest[:12]}…); this one has {digest[:12]}…",
            where=str(folder),
            hint="Build on adapters of this base, or load the base they were trained on.",
        )


def check_weights(folder: Path, name: str, owned: re.Pattern[str]) -> None:
    """A whole safetensors file whose every weight's name matches `owned`.

    Raises:
        ModelError: missing (a pickle beside it does not count), truncated, or holding weights that are no adapter's.
    """
    from safetensors import safe_open

    file = folder / name
    if not file.is_file():
        pickles = sorted(path.name for path in folder.glob("*.bin"))
        if pickles:
            raise ModelError(
                f"the weights are pickled ({pickles[0]}), and loading a pickle can run any code",
                where=str(folder),
                hint="Convert them to safetensors where you trust their origin (adapters' save_adapter does).",
            )
        raise ModelError(f"there is no {name}", where=str(folder), hint="Copy the adapter again.")
    check_safetensors(file)
    with safe_open(file, framework="numpy") as handle:
        foreign = sorted(key for key in handle.keys() if not owned.search(key))  # noqa: SIM118
    if foreign:
        raise ModelError(f"holds weights that are not the adapter's ({foreign[0]})", where=str(file))


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object of an adapter folder.

    Raises:
        ModelError: missing folder or file, or not a JSON object.
    """
    if not folder.is_dir():
        raise ModelError("is no adapter folder", where=str(folder), hint=f"An adapter is a folder with {CONFIG} and {WEIGHTS}.")
    file = folder / name
    if not file.is_file():
        raise ModelError(f"there is no {name}", where=str(folder), hint="Is this an adapter folder?")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"is truncated or no JSON: {error}", where=str(file), hint="Copy the adapter again.") from error
    if not isinstance(found, dict):
        raise ModelError("is no JSON object", where=str(file))
    return found


def member_folder(path: str) -> Path:
    """The folder that a composition's `over` means: itself, or its subfolder ``adapter``.

    Raises:
        ModelError: neither holds an adapter, or the folder is a composition itself.
    """
    folder = Path(path).expanduser()
    if (folder / SETUP).is_file():
        raise ModelError("is a composition, and compositions cannot be nested", where=str(folder), hint="Name its members instead.")
    inner = folder / "adapter"
    return inner if not (folder / CONFIG).is_file() and (inner / CONFIG).is_file() else folder


def content(path: str) -> str:
    """What identifies an adapter in a key: a hash of its two files, or the path while there are none."""
    folder = Path(path).expanduser()
    if not (folder / CONFIG).is_file():
        folder = folder / "adapter"
    try:
        parts = [(folder / name).read_bytes() for name in (CONFIG, WEIGHTS)]
    except OSError:
        return path
    return "sha256:" + hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
