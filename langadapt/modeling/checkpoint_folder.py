"""A checkpoint folder that others may have written, looked at before anything of it is loaded.

transformers follows what it finds in a folder: an ``adapter_config.json`` makes it load another base, ``transformers_weights`` in
``config.json`` weights from elsewhere, an attention implementation code from the Hub.  So no library ever sees such a folder: it gets a
*view* that holds links to the weights, the tokenizer's known files and a configuration without the keys that choose code or files.  What
was looked at, and digested, is what is loaded.
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langadapt.errors import ModelError
from langadapt.settings_files import inside, read_settings_file, regular

CONFIG, SINGLE, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "model.ckpt")

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "bpe.codes",
    "dict.txt",
    "entity_vocab.json",
    "sentencepiece.bpe.model",
    "sentencepiece.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
)
"""Files that fast tokenizers are made of; nothing else of a folder reaches a tokenizer's loader."""

CODE_KEYS = ("auto_map", "custom_pipelines")
"""Keys that name Python code.  No code of a folder is run: the architecture's own class loads it, or nothing does."""

ATTENTION_KEYS = ("_attn_implementation", "attn_implementation", "_attn_implementation_internal", "_attn_implementation_autoset")
ATTENTIONS = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
"""Implementations of one and the same attention: which one runs is this machine's choice, not the file's."""

MAXIMA = {"num_hidden_layers": 1_000, "hidden_size": 100_000, "vocab_size": 20_000_000, "intermediate_size": 1_000_000}
"""Sizes over which a configuration is taken for broken, under transformers' own names or an architecture's (``n_layer`` …)."""

OTHER_NAMES = {
    "num_hidden_layers": ("n_layer", "n_layers", "num_layers", "encoder_layers"),
    "hidden_size": ("n_embd", "d_model", "dim", "emb_dim"),
    "intermediate_size": ("n_inner", "d_ff", "ffn_dim", "hidden_dim", "d_inner"),
    "vocab_size": (),
}

LAYER = re.compile(r"\.(?:layer|layers|h|block|blocks|attentions)\.(\d+)\.")


@dataclass(frozen=True)
class CheckpointFolder:
    """What a folder's files say, read and bounded, with nothing loaded."""

    folder: Path
    config: dict[str, Any]
    """``config.json`` without the keys that choose code or files."""
    files: tuple[Path, ...]
    """The safetensors files, in the order of their names."""
    shapes: dict[str, tuple[int, ...]]
    """Tensor name → shape, from the files' headers."""

    def has(self, *beginnings: str) -> bool:
        """Whether a tensor's name begins with one of these."""
        return any(name.startswith(beginnings) for name in self.shapes)


def look(folder: Path) -> CheckpointFolder:
    """Read a checkpoint folder's configuration and headers, and hold them against each other.

    Raises:
        ModelError: no checkpoint; pickled, missing, truncated or malformed files; a configuration that names code, other files or
            sizes that its weights cannot have.
    """
    if not folder.is_dir():
        raise ModelError("is no checkpoint folder", where=str(folder), hint="A checkpoint is a folder with config.json.")
    if not (folder / CONFIG).is_file():
        raise ModelError("there is no config.json", where=str(folder), hint="Is this a checkpoint folder?")
    config = _config(folder / CONFIG)
    files = weight_files(folder)
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            "an adapter_config.json lies beside the weights, and it is unclear which of the two is meant",
            where=str(folder),
            hint="Move it and the adapter's weights into a folder of their own; Encoder.add_adapter adds that to this base.",
        )
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        shapes.update(header(file))
    _check_sizes(config, shapes, folder / CONFIG)
    return CheckpointFolder(folder, config, tuple(files), shapes)


def _config(path: Path) -> dict[str, Any]:
    found = read_settings_file(path, finite=False)
    if "model_type" in found and not isinstance(found["model_type"], str):
        raise ModelError(f"its 'model_type' is {found['model_type']!r}"[:200], where=str(path), hint="Fetch or copy the folder again.")
    cleaned: dict[str, Any] = _without_choices(found, path)
    return cleaned


def _without_choices(value: Any, path: Path) -> Any:
    """A configuration without keys that choose code; one that chooses other files, or code from the Hub, is refused."""
    if isinstance(value, list):
        return [_without_choices(item, path) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("transformers_weights") is not None:
        raise ModelError(
            f"'transformers_weights' names other weights ('{str(value['transformers_weights'])[:80]}') than this folder's own",
            where=str(path),
            hint="Remove that key if the weights beside it are the ones that are meant.",
        )
    for key in ATTENTION_KEYS[:3]:
        if isinstance(value.get(key), str) and value[key] not in ATTENTIONS:
            raise ModelError(
                f"'{key}' asks for the attention '{value[key][:80]}', which would be code from elsewhere",
                where=str(path),
                hint=f"Known: {', '.join(ATTENTIONS)}. Remove the key: this machine's best one is chosen anyway.",
            )
    quantization = value.get("quantization_config")
    if isinstance(quantization, dict) and quantization.get("quant_method", "bitsandbytes") != "bitsandbytes":
        raise ModelError(
            f"the weights are quantised by '{str(quantization['quant_method'])[:80]}', and only bitsandbytes' form can be loaded",
            where=str(path),
            hint="Take the unquantised checkpoint.",
        )
    dropped = {*CODE_KEYS, *ATTENTION_KEYS, "transformers_weights"}
    return {key: _without_choices(item, path) for key, item in value.items() if key not in dropped}


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that a loader takes: one file, or the shards that the index names.

    Raises:
        ModelError: there is none, it is pickled, or the index is malformed or names files outside its folder.
    """
    if (folder / SINGLE).exists():
        return [folder / SINGLE]
    if (folder / INDEX).exists():
        stated = read_settings_file(folder / INDEX).get("weight_map")
        if not isinstance(stated, dict) or not stated:
            raise ModelError("has no 'weight_map'", where=str(folder / INDEX), hint="Fetch or copy the checkpoint again.")
        if any(not isinstance(name, str) or "/" in name or "\\" in name for name in stated.values()):
            raise ModelError("the weight index names files outside its folder", where=str(folder / INDEX))
        files = [inside(folder, name, folder / INDEX) for name in sorted(set(stated.values()))]
        for file in files:
            if not file.is_file():
                raise ModelError(f"there is no {file.name}", where=str(folder), hint="Fetch or copy the checkpoint again.")
        return files
    pickled = [name for name in PICKLES if (folder / name).is_file()]
    if pickled:
        raise ModelError(
            f"the weights are pickled ({pickled[0]}), and loading a pickle can run any code",
            where=str(folder),
            hint="Convert them to safetensors where you trust their origin (transformers' save_pretrained does).",
        )
    raise ModelError(f"there is no {SINGLE}", where=str(folder))


def header(file: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a safetensors file, from its header; the offsets are compared with the file's size.

    Raises:
        ModelError: no regular file, truncated, not safetensors, or without tensors.
    """
    from safetensors import SafetensorError, safe_open

    regular(file)
    try:
        with safe_open(file, framework="numpy") as handle:
            found = {name: tuple(handle.get_slice(name).get_shape()) for name in handle.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, ValueError) as error:
        text = " ".join(str(error).split())[:300]
        raise ModelError(
            f"is truncated or no safetensors file: {text}", where=str(file), hint="Fetch or copy the checkpoint again."
        ) from error
    if not found:
        raise ModelError("holds no tensors", where=str(file))
    return found


def _check_sizes(config: dict[str, Any], shapes: dict[str, tuple[int, ...]], path: Path) -> None:
    """Refuse sizes that would cost time and memory before the weights turn out not to have them."""
    hint = "Configuration and weights do not belong together: fetch or copy the checkpoint again."
    largest = max((max(shape, default=1) for shape in shapes.values()), default=1)
    for name, most in MAXIMA.items():
        key = next((key for key in (name, *OTHER_NAMES[name]) if config.get(key) is not None), None)
        if key is None:
            continue
        value = config[key]
        if name == "num_hidden_layers" and isinstance(value, list):
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ModelError(f"'{key}' is {value!r}, and a whole number is meant"[:300], where=str(path), hint=hint)
        if value > most or (name != "num_hidden_layers" and value > 8 * largest):
            raise ModelError(f"'{key}' is {value:,}, and no weight is larger than {largest:,}", where=str(path), hint=hint)
        if name == "num_hidden_layers" and "num_hidden_groups" not in config:
            numbers = {int(match[1]) for tensor in shapes if (match := LAYER.search(f".{tensor}"))}
            if numbers and value > max(numbers) + 1:
                raise ModelError(f"'{key}' is {value:,}, and the weights hold {max(numbers) + 1} layers", where=str(path), hint=hint)


@contextlib.contextmanager
def view(found: CheckpointFolder) -> Iterator[Path]:
    """A temporary folder with a checkpoint's weights and cleaned configuration, and nothing else, for a library to load."""
    with _linked(found.files) as place:
        (place / CONFIG).write_text(json.dumps(found.config), encoding="utf-8")
        if len(found.files) > 1 or found.files[0].name != SINGLE:
            (place / INDEX).symlink_to((found.folder / INDEX).absolute())
        yield place


PATH_KEYS = ("name_or_path", "tokenizer_file", "vocab_file", "merges_file", "special_tokens_map_file", "added_tokens_file")
"""Keys of ``tokenizer_config.json`` by which a tokenizer would look for files elsewhere."""


@contextlib.contextmanager
def tokenizer_view(folder: Path, more: tuple[str, ...] = ()) -> Iterator[Path]:
    """A temporary folder with the known tokenizer files of a checkpoint (and `more`), for a library to load.

    Raises:
        ModelError: a file is no regular file, or its settings are malformed.
    """
    present = [folder / name for name in (*TOKENIZER_FILES, *more) if (folder / name).exists()]
    for path in present:
        regular(path)
    settings = folder / "tokenizer_config.json"
    with _linked(path for path in present if path != settings) as place:
        if settings in present:
            stated = read_settings_file(settings, finite=False)
            kept = {key: value for key, value in stated.items() if key not in (*CODE_KEYS, *PATH_KEYS)}
            (place / settings.name).write_text(json.dumps(kept), encoding="utf-8")
        if (folder / CONFIG).is_file():  # names the architecture, by which an old folder's tokenizer class is found
            (place / CONFIG).write_text(json.dumps(_config(folder / CONFIG)), encoding="utf-8")
        yield place


@contextlib.contextmanager
def _linked(files: Iterable[Path]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="langadapt-view-") as name:
        place = Path(name)
        for file in files:
            (place / file.name).symlink_to(file.absolute())
        yield place
