"""Loading checkpoints without running code of theirs: safetensors only, no pickle, no remote code."""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langadapt.errors import ModelError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "model.ckpt")


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The fast tokenizer of a checkpoint folder.

    Raises:
        ModelError: there is none, it is broken, or it has no fast version.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerBase

    names = ("tokenizer.json", "vocab.txt", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "vocab.json")
    if not any((folder / name).is_file() for name in names):
        raise ModelError("the checkpoint has no tokenizer", where=str(folder), hint=f"Put one of {', '.join(names)} beside the weights.")
    options: dict[str, Any] = {}
    if _warns_of_mistral(folder):
        options["fix_mistral_regex"] = False  # following that warning's advice would break the pre-tokenizer
    from langadapt.modeling import tokenization_bidirectional as both

    family: Any = both.BidirectionalWordPieceTokenizerFast if (folder / both.COUNTS).is_file() else AutoTokenizer
    try:
        found = family.from_pretrained(str(folder), use_fast=True, trust_remote_code=False, **options)
    except Exception as error:
        raise ModelError(f"the tokenizer cannot be loaded: {_short(error)}", where=str(folder)) from error
    assert isinstance(found, PreTrainedTokenizerBase)
    if not found.is_fast:
        raise ModelError("the tokenizer has no fast version", where=str(folder), hint="Convert it to tokenizer.json first.")
    return found  # type: ignore[return-value]


def _warns_of_mistral(folder: Path) -> bool:
    import transformers

    if not transformers.__version__.startswith("4.57"):
        return False
    config = folder / "tokenizer_config.json"
    return config.is_file() and "Mistral" not in config.read_text(encoding="utf-8", errors="replace")


def quantization_options(bits: str, device: str, *, double: bool = True, outliers: float = 0.0) -> dict[str, Any]:
    """Keywords of ``from_pretrained`` that load the linear layers in 8 or 4 bit (Dettmers et al. 2022, 2023; arXiv:2208.07339,
    arXiv:2305.14314).

    LLM.int8 keeps columns with a value over 6 apart in half precision, and looks for them in the whole batch: which texts share
    one would change every vector (by up to 7e-3).  Here no column is kept apart; with texts that are not padded, as
    :class:`langadapt.inference.encoder.Encoder` runs them, a text's vector is its own whatever it is batched with.  Its cosine to
    the float encoder's is 0.997 in place of 0.999.

    Args:
        bits: ``8bit`` (int8, scaled by rows) or ``4bit`` (NF4).
        device: where the weights go.
        double: quantise the 4-bit scales too.
        outliers: size from which a value's column is kept apart in 8 bit; 0 for none.

    Raises:
        ModelError: bitsandbytes is not installed, or this device cannot.
    """
    import torch
    from transformers import BitsAndBytesConfig

    hint = "Install the plugin langadapt-lora (it brings bitsandbytes), or load without quantization."
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(f"{bits} weights need bitsandbytes, which is not installed", hint=hint)
    if device.startswith("mps"):
        raise ModelError(f"{bits} weights cannot be had on 'mps'", hint="Choose --device cpu, or load without quantization.")
    if bits == "8bit":
        config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=outliers)
    elif bits == "4bit":
        config = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=double, bnb_4bit_compute_dtype=compute_dtype(device)
        )
    else:
        raise ModelError(f"there is no quantization '{bits}'", hint="Known: 8bit, 4bit.")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # 'inputs will be cast', once a call
    warnings.filterwarnings("ignore", message="MatMul8bitLt: inputs will be cast")
    # A half-precision body would meet float32 adapters and fail: everything that is not quantised stays float32.
    return {"quantization_config": config, "device_map": {"": torch.device(device)}, "dtype": torch.float32}


def compute_dtype(device: str) -> torch.dtype:
    """What 4-bit products are computed in: bfloat16 on cards, float32 on the CPU."""
    import torch

    return torch.bfloat16 if device.startswith("cuda") else torch.float32


def keep_unpacked(model: PreTrainedModel) -> None:
    """Hold 4-bit weights in the form that gradients pass through.

    On CPUs with AVX512-BF16, bitsandbytes repacks them in place at the first evaluation, and training after it would fail.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def load_model(folder: Path, mlm_head: bool | None = None, options: Mapping[str, Any] | None = None) -> PreTrainedModel:
    """A checkpoint folder as an encoder in float32, with its masked-LM head or without.

    Args:
        mlm_head: True loads (or initialises) a masked-LM head, False leaves it out, None keeps what is saved.
        options: further keywords of ``from_pretrained`` (:func:`quantization_options`).

    Raises:
        ModelError: pickled weights only, truncated or altered safetensors, missing weights, unknown type.
    """
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

    _check_weights(folder)
    try:
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    except Exception as error:
        raise ModelError(f"config.json cannot be used: {_short(error)}", where=str(folder)) from error
    if mlm_head is None:
        mlm_head = any("ForMaskedLM" in name for name in getattr(config, "architectures", None) or [])
    family: Any = AutoModelForMaskedLM if mlm_head else AutoModel
    keywords: dict[str, Any] = {"dtype": torch.float32, "use_safetensors": True, "trust_remote_code": False, **(options or {})}
    with _quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model, report = _without_pooling_layer(family, folder, keywords)
        except Exception as error:
            raise ModelError(
                f"the weights cannot be loaded: {_short(error)}",
                where=str(folder / "model.safetensors"),
                hint="Fetch or copy the checkpoint again.",
            ) from error
    missing = [name for name in report["missing_keys"] if not name.startswith(HEAD_PREFIXES)]
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise ModelError(f"weights are missing: {shown}", where=str(folder), hint="Is this the checkpoint of another architecture?")
    _mark_fresh(model, set(report["missing_keys"]))
    if getattr(model.config, "use_cache", False):
        model.config.use_cache = False  # a decoder that encodes reads no cache, and one would cost its memory
    return model  # type: ignore[no-any-return]


def _mark_fresh(model: PreTrainedModel, missing: set[str]) -> None:
    """Say on a head's weights that no checkpoint had them (``fresh``): they must train whatever else is frozen."""
    for name, weight in model.named_parameters():
        if name in missing:
            weight.fresh = True  # type: ignore[attr-defined]


HEAD_PREFIXES = ("cls.", "lm_head.", "head.", "decoder.", "vocab_", "predictions.", "generator_", "lm_predictions.", "pooler.")
"""Weights that a sentence encoder's checkpoint may lack: heads are trained anew."""


def _without_pooling_layer(family: Any, folder: Path, options: dict[str, Any]) -> Any:
    """Load with ``add_pooling_layer=False`` where the architecture knows it: the layer is unused and untrained."""
    try:
        return family.from_pretrained(str(folder), add_pooling_layer=False, output_loading_info=True, **options)
    except TypeError as error:
        if "add_pooling_layer" not in str(error):
            raise
        return family.from_pretrained(str(folder), output_loading_info=True, **options)


def _check_weights(folder: Path) -> None:
    if not folder.is_dir():
        raise ModelError("is no checkpoint folder", where=str(folder), hint="A checkpoint is a folder with config.json.")
    if not (folder / "config.json").is_file():
        raise ModelError("there is no config.json", where=str(folder), hint="Is this a checkpoint folder?")
    index = folder / "model.safetensors.index.json"
    files = [folder / "model.safetensors"]
    if index.is_file():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        if any(Path(name).name != name for name in names):
            raise ModelError("the weight index names files outside its folder", where=str(index))
        files = [folder / name for name in sorted(names)]
    for file in files:
        if not file.is_file():
            pickled = [name for name in PICKLES if (folder / name).is_file()]
            if pickled:
                raise ModelError(
                    f"the weights are pickled ({pickled[0]}), and loading a pickle can run any code",
                    where=str(folder),
                    hint="Convert them to safetensors where you trust their origin (transformers' save_pretrained does).",
                )
            raise ModelError(f"there is no {file.name}", where=str(folder))
        check_safetensors(file)


def check_safetensors(file: Path) -> None:
    """Read a safetensors header and compare its offsets with the file's size.

    Raises:
        ModelError: truncated or not safetensors.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as handle:
            if not list(handle.keys()):
                raise ModelError("holds no tensors", where=str(file))
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"is truncated or no safetensors file: {_short(error)}", where=str(file), hint="Fetch or copy the checkpoint again."
        ) from error


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"


def save_checkpoint(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write weights, config and tokenizer so that transformers 4.57 and 5 both load them."""
    model.save_pretrained(str(folder))
    save_tokenizer(tokenizer, folder)


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a tokenizer under a class name that transformers 4.57 knows too.

    Version 5 writes ``TokenizersBackend``, and rebuilds classes such as XLM-R's from their pieces alone, losing the normalizer;
    the generic fast class reads ``tokenizer.json`` as it is.
    """
    tokenizer.save_pretrained(str(folder))
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    _carry_code(tokenizer, folder, config)
    for key in ("is_local", "local_files_only", "name_or_path"):  # where it was loaded from is nobody's business
        config.pop(key, None)
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def _carry_code(tokenizer: PreTrainedTokenizerFast, folder: Path, config: dict[str, Any]) -> None:
    """Put the code of a tokenizer of ours beside its files, for loaders that may run it."""
    from langadapt.modeling import tokenization_bidirectional as both

    if isinstance(tokenizer, both.BidirectionalWordPieceTokenizerFast):
        source = Path(both.__file__)
        (folder / source.name).write_bytes(source.read_bytes())
        config["auto_map"] = {"AutoTokenizer": [None, f"{source.stem}.{type(tokenizer).__name__}"]}


class _quiet:
    """Silence transformers' notes on heads it drops or starts at random: we check and say what matters."""

    def __enter__(self) -> None:
        from transformers.utils import logging as hf

        self._level = hf.get_verbosity()
        self._bars = hf.is_progress_bar_enabled()
        hf.set_verbosity(logging.ERROR)
        hf.disable_progress_bar()

    def __exit__(self, *exc: object) -> None:
        from transformers.utils import logging as hf

        hf.set_verbosity(self._level)
        if self._bars:
            hf.enable_progress_bar()
