"""Loading checkpoints without running code of theirs: safetensors only, no pickle, no remote code."""

from __future__ import annotations

import importlib.util
import inspect
import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langadapt.errors import ModelError
from langadapt.files import stamps
from langadapt.modeling import tokenizer_classes
from langadapt.modeling.checkpoint_folder import CheckpointFolder, header, look, tokenizer_view, view

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The fast tokenizer of a checkpoint folder.

    Raises:
        ModelError: there is none, it is broken, or it has no fast version.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerBase

    if not any((folder / name).is_file() for name in VOCABULARIES):
        known = ", ".join(VOCABULARIES)
        raise ModelError("the checkpoint has no tokenizer", where=str(folder), hint=f"Put one of {known} beside the weights.")
    with tokenizer_view(folder, tuple(tokenizer_classes.stated())) as place:
        options: dict[str, Any] = {"fix_mistral_regex": False} if _warns_of_mistral(place) else {}  # its advice breaks pre-tokenizers
        family: Any = tokenizer_classes.class_for(place) or AutoTokenizer
        if family is AutoTokenizer:
            tokenizer_classes.say_code_is_left_out(folder, ours=(folder / "encoder.json").is_file())
        try:
            found = family.from_pretrained(str(place), use_fast=True, trust_remote_code=False, local_files_only=True, **options)
            if found.is_fast:  # a template that names a token it does not know ends the first text in a panic
                found.backend_tokenizer.encode("a")
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a broken regex ends in a Rust panic, which is no Exception
            raise ModelError(f"the tokenizer cannot be loaded: {_short(error, place, folder)}", where=str(folder)) from error
    assert isinstance(found, PreTrainedTokenizerBase)
    found.name_or_path = str(folder)
    longest = found.model_max_length
    if isinstance(longest, bool) or not isinstance(longest, int | float) or not longest > 0:
        raise ModelError(
            f"'model_max_length' is {longest!r}, and a number of tokens is meant"[:200],
            where=str(folder / "tokenizer_config.json"),
            hint="Fetch or copy the tokenizer again.",
        )
    if not found.is_fast:
        raise ModelError("the tokenizer has no fast version", where=str(folder), hint="Convert it to tokenizer.json first.")
    return found  # type: ignore[return-value]


VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
    "vocab.json",
    "bpe.codes",
)
"""Files of which a tokenizer can be made, each alone or with its merges."""


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


def load_model(
    folder: Path, mlm_head: bool | None = None, options: Mapping[str, Any] | None = None, scorer: bool = False
) -> PreTrainedModel:
    """A checkpoint folder as an encoder in float32, with its masked-LM head or without.

    Args:
        mlm_head: True loads (or initialises) a masked-LM head, False leaves it out, None keeps the one that the weights have, whatever
            the configuration's `architectures` say.
        options: further keywords of ``from_pretrained`` (:func:`quantization_options`).
        scorer: load (or initialise) a classification head of one output in place of any other.

    Raises:
        ModelError: pickled weights only; truncated, altered or missing ones; weights that the configuration has no place for, or that
            are no numbers; an architecture that is unknown or that cannot encode texts one by one.
    """
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification

    from langadapt.modeling import static

    static.register()
    mark = (mlm_head, scorer, str(folder), *stamps(folder))
    found = look(folder)
    with view(found) as place:
        try:
            config = AutoConfig.from_pretrained(str(place), trust_remote_code=False, local_files_only=True)
        except Exception as error:
            raise ModelError(f"config.json cannot be used: {_short(error, place, folder)}", where=str(folder)) from error
        check_architecture(config, folder)
        if mlm_head is None:
            mlm_head = has_mlm_head(found, config)
        family: Any = encoder_half(config) or (AutoModelForMaskedLM if mlm_head else AutoModel)
        if scorer:
            family, config.num_labels = AutoModelForSequenceClassification, 1
        keywords: dict[str, Any] = {"dtype": torch.float32, "use_safetensors": True, "trust_remote_code": False, "local_files_only": True}
        with _quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                model, report = _without_pooling_layer(family, place, {"config": config, **keywords, **(options or {})})
            except Exception as error:
                raise ModelError(
                    f"the weights cannot be loaded: {_short(error, place, folder)}",
                    where=str(found.files[0]),
                    hint="Fetch or copy the checkpoint again.",
                ) from error
    model.name_or_path = model.config._name_or_path = str(folder)
    _check_report(model, report, folder)
    if options or mark not in _SOUND:
        _check_numbers(model, folder)
        if not options:  # of quantised weights only some are looked at
            _SOUND.add(mark)
    _mark_fresh(model, set(report["missing_keys"]))
    if getattr(model.config, "use_cache", False):
        model.config.use_cache = False  # a decoder that encodes reads no cache, and one would cost its memory
    return model  # type: ignore[no-any-return]


MLM_HEADS = (
    "cls.predictions.",
    "lm_head.",
    "vocab_transform.",
    "vocab_projector.",
    "generator_predictions.",
    "generator_lm_head.",
    "predictions.",
    "head.dense.",
    "pred_layer.",
    "lm_predictions.",
)
"""Beginnings of the names of masked-LM heads: BERT and DeBERTa, RoBERTa, DistilBERT, ELECTRA, ALBERT, ModernBERT, XLM."""


def has_mlm_head(found: CheckpointFolder, config: Any) -> bool:
    """Whether a checkpoint's weights hold a masked-LM head of an architecture that has one.

    `architectures` does not tell: BERT's own checkpoints are saved for pretraining (masked words and next sentence), converted ones
    often name nothing.
    """
    from transformers import MODEL_FOR_MASKED_LM_MAPPING

    if type(config) not in MODEL_FOR_MASKED_LM_MAPPING:
        return False
    # ModernBERT's classifiers have the same dense layer before their own; only its masked-LM head has a decoder.
    return found.has(*MLM_HEADS) and (not found.has("head.dense.") or found.has("decoder."))


def check_architecture(config: Any, folder: Path) -> None:
    """Refuse architectures whose bodies give no states for a text alone.

    Raises:
        ModelError: an encoder-decoder, or a body that does not tell padding from text.
    """
    from transformers import MODEL_MAPPING

    kind = str(config.model_type)
    taken = _inputs_of(MODEL_MAPPING[type(config)]) if type(config) in MODEL_MAPPING else set()
    if getattr(config, "is_encoder_decoder", False) or "decoder_input_ids" in taken:
        if encoder_half(config) is not None:
            return
        raise ModelError(
            f"'{kind}' is an encoder-decoder, and transformers has no class for its encoder alone",
            where=str(folder),
            hint="Choose T5 or mT5, a base with an encoder only (BERT, RoBERTa, XLM-R, ModernBERT …) or a decoder.",
        )
    if taken and "attention_mask" not in taken:
        raise ModelError(
            f"'{kind}' reads no attention mask: a text's vector would depend on the texts it is batched with",
            where=str(folder),
            hint="Choose a base of another architecture.",
        )


ENCODER_HALVES = ("T5EncoderModel", "MT5EncoderModel", "UMT5EncoderModel")
"""Classes of transformers that are the encoder of an encoder-decoder, and read its checkpoints."""


def encoder_half(config: Any) -> Any | None:
    """The class of an encoder-decoder's encoder, where there is one (Sentence-T5; Ni et al. 2022, arXiv:2108.08877)."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING

    if type(config) not in MODEL_FOR_TEXT_ENCODING_MAPPING:
        return None
    family = MODEL_FOR_TEXT_ENCODING_MAPPING[type(config)]
    return family if family.__name__ in ENCODER_HALVES else None


def _inputs_of(body: Any) -> set[str]:
    """Names that a model class's forward pass takes (of several classes, the first one's)."""
    classes = body if isinstance(body, tuple) else (body,)
    return set(inspect.signature(classes[0].forward).parameters)


def _check_report(model: PreTrainedModel, report: Mapping[str, Any], folder: Path) -> None:
    """Hold what was loaded against what the file has: nothing of the body may be missing, and none of it left over."""
    prefix = f"{model.base_model_prefix}."
    own = {name.removeprefix(prefix).partition(".")[0] for name in model.base_model.state_dict()}
    # OPT keeps its body under 'decoder.', which is a head's name elsewhere.
    heads = tuple(name for name in HEAD_PREFIXES if name == "pooler." or name.partition(".")[0] not in own)
    missing = [name for name in report["missing_keys"] if not name.removeprefix(prefix).startswith(heads)]
    if missing:
        raise ModelError(
            f"weights are missing: {_some(missing)}", where=str(folder), hint="Is this the checkpoint of another architecture?"
        )
    left = [name.removeprefix(prefix) for name in report["unexpected_keys"]]
    over = sorted(name for name in left if name.partition(".")[0] in own and not name.endswith(FOLLOWING))
    if over:
        raise ModelError(
            f"the configuration has no place for weights of the checkpoint: {_some(over)}",
            where=str(folder),
            hint="Configuration and weights do not belong together: fetch or copy the checkpoint again.",
        )


FOLLOWING = ("position_ids", "token_type_ids", "inv_freq", "attn.bias", "masked_bias", "num_batches_tracked")
"""Endings of saved tensors that follow from the configuration: that they are not read loses nothing."""


def _check_numbers(model: PreTrainedModel, folder: Path) -> None:
    """Refuse weights that are no numbers: every vector would be none.

    Raises:
        ModelError: a weight is NaN or infinite, named.
    """
    import torch

    for name, weight in model.named_parameters():
        # A sum shows both, and is as fast as memory; a sum that overflows is looked at again.
        if not weight.is_floating_point() or bool(torch.isfinite(weight.detach().sum())):
            continue
        broken = int((~torch.isfinite(weight)).sum())
        if broken:
            raise ModelError(
                f"{broken:,} of {weight.numel():,} values of '{name}' are no numbers (NaN or infinite)",
                where=str(folder),
                hint="The checkpoint is damaged, or its training broke: take an earlier one.",
            )


_SOUND: set[tuple[Any, ...]] = set()
"""Folders whose weights this process has seen to be numbers, by the head that was loaded and the stamps of their files."""


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _mark_fresh(model: PreTrainedModel, missing: set[str]) -> None:
    """Say on a head's weights that no checkpoint had them (``fresh``): they must train whatever else is frozen."""
    for name, weight in model.named_parameters():
        if name in missing:
            weight.fresh = True  # type: ignore[attr-defined]


HEAD_PREFIXES = (
    "cls.",
    "lm_head.",
    "head.",
    "decoder.",
    "vocab_",
    "predictions.",
    "generator_",
    "lm_predictions.",
    "pred_layer.",
    "pooler.",
    "classifier.",
    "pre_classifier.",
    "score.",
    "sequence_summary.",
)
"""Weights that a sentence encoder's checkpoint may lack: heads are trained anew."""


def _without_pooling_layer(family: Any, folder: Path, options: dict[str, Any]) -> Any:
    """Load with ``add_pooling_layer=False`` where the architecture knows it: the layer is unused and untrained."""
    try:
        return family.from_pretrained(str(folder), add_pooling_layer=False, output_loading_info=True, **options)
    except TypeError as error:
        if "add_pooling_layer" not in str(error):
            raise
        return family.from_pretrained(str(folder), output_loading_info=True, **options)


def check_safetensors(file: Path) -> None:
    """Read a safetensors header and compare its offsets with the file's size.

    Raises:
        ModelError: truncated or not safetensors.
    """
    header(file)


def _short(error: BaseException, place: Path, folder: Path) -> str:
    """A library's error in one line, with the folder's own name in place of the view's."""
    text = " ".join(str(error).split()).replace(str(place), str(folder))
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
    tokenizer_classes.carry_code(tokenizer, folder, config)
    for key in ("is_local", "local_files_only", "name_or_path"):  # where it was loaded from is nobody's business
        config.pop(key, None)
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


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


def own(module: torch.nn.Module) -> None:
    """Copy weights into memory that are otherwise read from their file when they are used."""
    for weight in (*module.parameters(), *module.buffers()):
        weight.data = weight.data.clone()
