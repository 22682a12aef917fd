"""Finding what is to be loaded, and the components that its settings name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from langadapt.artifacts import encoder as encoders
from langadapt.artifacts.encoder import LoadedEncoder
from langadapt.contracts.component import Component
from langadapt.contracts.data import Normalizer
from langadapt.contracts.vectors import Fitted, Pooler, Transform
from langadapt.data.fetch import CHECKPOINT_FILES, hub_error
from langadapt.errors import ModelError
from langadapt.modeling.encoder import EncoderModule
from langadapt.modeling.loading import quantization_options
from langadapt.modeling.pooling import Cls, Mean

if TYPE_CHECKING:
    from langadapt.registry.registry import Registry

C = TypeVar("C", bound=Component)


def best_device() -> str:
    """``cuda``, ``mps`` or ``cpu``."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def local_folder(source: str | Path) -> Path:
    """A folder as it is, or a Hub id's files on this machine.

    Raises:
        ModelError: no such folder.
        DataError: the Hub cannot be reached or has no such repository.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if isinstance(source, Path) or source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise ModelError("there is no such folder", where=str(source), hint="Give a release folder or a Hub id.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, allow_patterns=CHECKPOINT_FILES, ignore_patterns=["onnx/*", "openvino/*"]))
    except Exception as error:
        raise hub_error(None, source, error) from error


def component(registry: Registry | None, contract: type[C], slot: dict[str, Any]) -> C:
    """A component from its slot; without a registry, the core's own poolers need no plugin to be loaded."""
    own: dict[str, type[Component]] = {"mean": Mean, "cls": Cls}
    if registry is None and contract is Pooler and list(slot) == ["use"] and slot["use"] in own:
        return own[slot["use"]]()  # type: ignore[return-value]
    if registry is None:
        from langadapt.registry.plugins import load_plugins
        from langadapt.registry.registry import Registry as Loaded

        registry = Loaded(load_plugins())
    return registry.make(contract, slot)


def restored(registry: Registry | None, slot: dict[str, Any], arrays: dict[str, np.ndarray], folder: Path) -> Fitted:
    """What vectors are stored through.

    Raises:
        ModelError: the arrays beside the weights are none of this transform's.
    """
    try:
        if not all(bool(np.isfinite(one).all()) for one in arrays.values()):
            raise ValueError("a value is no number")
        return component(registry, Transform, slot).restore(arrays)
    except (KeyError, ValueError, TypeError) as error:
        what = f"what its '{slot['use']}' was fitted to cannot be used: {error}"
        raise ModelError(what, where=str(folder / encoders.OUTPUT), hint="Copy the folder again.") from error


@dataclass(frozen=True)
class Opened:
    """A checkpoint ready to encode with."""

    loaded: LoadedEncoder
    module: EncoderModule
    normalizer: Normalizer | None
    output: Fitted | None
    """What vectors are stored through."""


def open_checkpoint(
    folder: Path,
    device: str,
    pooler: dict[str, Any] | str | None,
    normalizer: Normalizer | None,
    quantization: str | None,
    mlm_head: bool,
    registry: Registry | None,
) -> Opened:
    """Read a folder onto a device; the arguments are those of :meth:`langadapt.inference.encoder.Encoder.load`.

    Raises:
        ModelError: a device or a quantisation this machine has not, or a pooler without its weights.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError("there is no CUDA device here", hint="Choose --device cpu, or name none for the best there is.")
    quantized = quantization_options(quantization, device) if quantization else None
    loaded = encoders.load(folder, mlm_head=None if mlm_head else False, options=quantized)
    if pooler is not None:
        loaded.choose_pooler(component(registry, Pooler, {"use": pooler} if isinstance(pooler, str) else pooler).slot())
    settings = loaded.settings
    separate = settings.normalizer if not settings.normalizer_in_tokenizer else None
    normalizer = component(registry, Normalizer, separate) if separate else normalizer
    untrained = loaded.pooling is None
    module = loaded.module(component(registry, Pooler, settings.pooler))
    if untrained and module.pooling is not None:
        raise ModelError(
            f"there are no weights of its pooler '{settings.pooler['use']}' ({encoders.POOLING})",
            where=str(folder),
            hint="Copy the whole folder again; a pooler that learns is trained with its encoder.",
        )
    output = restored(registry, settings.output, loaded.output or {}, folder) if settings.output else None
    if quantization:  # quantised weights stand on their device already, and refuse to be moved
        module.transforms.to(device)
        if module.pooling is not None:
            module.pooling.to(device)
    else:
        module.to(device)
    return Opened(loaded, module.eval(), normalizer, output)
