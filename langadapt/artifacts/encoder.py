"""An encoder on disk: a transformers checkpoint, its tokenizer, and ``encoder.json`` with what makes vectors of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langadapt.artifacts import adapter as adapters
from langadapt.artifacts import vocabulary
from langadapt.artifacts.files import read_json, write_json
from langadapt.errors import ModelError
from langadapt.modeling.encoder import EncoderModule, EncoderSettings
from langadapt.modeling.loading import load_model, load_tokenizer, save_checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

SETTINGS, TRANSFORMS = "encoder.json", "transforms.safetensors"


@dataclass
class LoadedEncoder:
    """An encoder in memory: weights, tokenizer and settings."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    settings: EncoderSettings
    transforms: list[tuple[Any, Any]] = dataclasses.field(default_factory=list)
    origins: vocabulary.Origins | None = None
    """Where the rows of its vocabulary came from, if it was ever moved."""

    def module(self, pooler: Any, budget: int = 4096) -> EncoderModule:
        """The encoder as one module; `pooler` is the component that the settings name."""
        return EncoderModule(self.model, pooler, pad_id(self.tokenizer), self.transforms, budget)


def pad_id(tokenizer: PreTrainedTokenizerFast) -> int:
    """Id of the padding token; 0 where a tokenizer has none (the mask hides what stands there)."""
    found = tokenizer.pad_token_id
    return 0 if found is None else int(found)


def save(encoder: LoadedEncoder, folder: Path) -> None:
    """Write checkpoint, tokenizer and settings; equal weights give equal bytes."""
    save_checkpoint(encoder.model, encoder.tokenizer, folder)
    save_settings(encoder, folder)


def save_settings(encoder: LoadedEncoder, folder: Path) -> None:
    """Write what makes vectors of the states, beside a checkpoint."""
    settings = encoder.settings.with_(transforms=len(encoder.transforms))
    if encoder.origins is not None:
        vocabulary.save(encoder.origins, folder)
    write_json(folder / SETTINGS, dataclasses.asdict(settings))
    if encoder.transforms:
        from safetensors.torch import save_file

        tensors = {
            f"{i}.{name}": value for i, pair in enumerate(encoder.transforms) for name, value in zip(("weight", "bias"), pair, strict=True)
        }
        save_file(tensors, str(folder / TRANSFORMS))


def load(folder: Path, mlm_head: bool | None = None, options: Mapping[str, Any] | None = None) -> LoadedEncoder:
    """Read an encoder: one of ours, a sentence-transformers folder, or any transformers checkpoint.

    Args:
        mlm_head, options: as in :func:`langadapt.modeling.loading.load_model`.

    Raises:
        ModelError: what :func:`langadapt.modeling.loading.load_model` refuses, or an adapter, which is half an encoder.
    """
    if adapters.is_adapter(folder):
        raise ModelError(
            "is an adapter, not a whole encoder",
            where=str(folder),
            hint="Load its base, then add the adapter to it; or release it merged into its base.",
        )
    settings, transforms = read_settings(folder)
    return LoadedEncoder(load_model(folder, mlm_head, options), load_tokenizer(folder), settings, transforms, vocabulary.load(folder))


def read_settings(folder: Path) -> tuple[EncoderSettings, list[tuple[Any, Any]]]:
    """How a folder's vectors are made, and its fitted transforms: from ours, sentence-transformers' or no files."""
    if (folder / SETTINGS).is_file():
        settings = EncoderSettings(**read_json(folder / SETTINGS))
        if not settings.transforms:
            return settings, []
        from safetensors.torch import load_file

        tensors = load_file(str(folder / TRANSFORMS))
        return settings, [(tensors[f"{i}.weight"], tensors[f"{i}.bias"]) for i in range(settings.transforms)]
    if (folder / "modules.json").is_file():
        return _from_sentence_transformers(folder), []
    return EncoderSettings(), []


def _from_sentence_transformers(folder: Path) -> EncoderSettings:
    settings = EncoderSettings()
    limit = folder / "sentence_bert_config.json"
    if limit.is_file() and (length := read_json(limit).get("max_seq_length")):
        settings = settings.with_(max_length=int(length))
    for module in read_json(folder / "modules.json"):
        kind = str(module["type"]).rsplit(".", 1)[-1]
        if kind == "Pooling":
            settings = settings.with_(pooler={"use": _pooling(folder / module["path"] / "config.json")})
        elif kind == "Normalize":
            settings = settings.with_(normalize=True)
        elif kind != "Transformer":
            raise ModelError(
                f"the sentence-transformers module '{kind}' is not known here",
                where=str(folder / "modules.json"),
                hint="Pick a base with transformer and pooling modules only.",
            )
    return settings


def _pooling(config: Path) -> str:
    """The pooler's name of either config layout (one key a mode, or ``pooling_mode``)."""
    stated = read_json(config)
    names = {
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_cls_token": "cls",
        "pooling_mode_max_tokens": "max",
        "pooling_mode_weightedmean_tokens": "weighted-mean",
        "pooling_mode_lasttoken": "last",
        "weightedmean": "weighted-mean",
        "lasttoken": "last",
    }
    modes = [names.get(key, key) for key, on in stated.items() if key.startswith("pooling_mode_") and on]
    if isinstance(stated.get("pooling_mode"), str):
        modes = [names.get(stated["pooling_mode"], stated["pooling_mode"])]
    if len(modes) != 1:
        raise ModelError(f"pooling by {', '.join(modes) or 'nothing'} is not known here", where=str(config))
    return str(modes[0])
