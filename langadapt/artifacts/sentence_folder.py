"""What a sentence-transformers folder says of its encoder: obeyed, or refused aloud, never passed over.

Layouts of all versions are read: ``sentence_bert_config.json`` and its old names, the transformer in a folder of its own, one key a
pooling mode or ``pooling_mode``, the maximum length there or in the tokenizer's settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langadapt.contracts.encoder import EncoderSettings
from langadapt.errors import ModelError
from langadapt.modeling.checkpoint_folder import header
from langadapt.settings_files import inside, read_settings_file, read_settings_json, regular

MODULES, PROMPTS = "modules.json", "config_sentence_transformers.json"

TRANSFORMER_FILES = tuple(
    f"sentence_{name}_config.json" for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""Where the transformer module's own settings stand, in the order in which sentence-transformers looks."""

PLAIN = {
    "transformer_task": "feature-extraction",
    "module_output_name": "token_embeddings",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
}
"""Settings of the transformer module that say what langadapt does anyway."""

MACHINE = ("unpad_inputs", "backend")
"""Settings that change speed and no vector."""

POOLERS = {
    "cls": "cls",
    "cls_token": "cls",
    "mean": "mean",
    "mean_tokens": "mean",
    "max": "max",
    "max_tokens": "max",
    "weightedmean": "weighted-mean",
    "weightedmean_tokens": "weighted-mean",
    "lasttoken": "last",
}
"""Pooling modes in both spellings → our poolers."""


@dataclass(frozen=True)
class SentenceFolder:
    """What was read."""

    transformer: Path
    """The folder with the checkpoint: the folder itself, or ``0_Transformer`` in old layouts."""
    settings: EncoderSettings
    lowercase: bool = False
    """Every text is put in lower case before the tokenizer's own rules."""
    transforms: tuple[tuple[Any, Any], ...] = ()
    """Dense layers: (weight (d', d), bias (d',)), in order."""


def is_sentence_folder(folder: Path) -> bool:
    """Whether sentence-transformers saved a folder."""
    return (folder / MODULES).is_file()


def read(folder: Path) -> SentenceFolder:
    """Read the settings of a folder that sentence-transformers saved.

    Raises:
        ModelError: a malformed file, a name that leaves the folder, or something that langadapt does not do: another kind of module or
            order of modules, a pooling without counterpart, a prompt that pooling leaves out.
    """
    modules = _modules(folder)
    kinds = [kind for kind, _ in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or any(kind not in AFTER for kind in kinds[2:]):
        strange = next((kind for kind in kinds if kind not in ("Transformer", "Pooling", *AFTER)), "")
        what = f"the sentence-transformers module '{strange}' is not known here" if strange else "its modules are in another order"
        raise ModelError(
            f"{what} ({' → '.join(kinds)[:200]})",
            where=str(folder / MODULES),
            hint="Pick a base of a transformer, a pooling, and then dense layers or unit length at most.",
        )
    if "Normalize" in kinds[:-1]:
        raise ModelError(
            "scales vectors to length one before its last module, which langadapt does at the end alone",
            where=str(folder / MODULES),
            hint="Take that folder's own library, or a base without it.",
        )
    transformer, pooling = modules[0][1], modules[1][1]
    prompt, prompts = _prompts(folder, kinds[-1] == "Normalize")
    pooler, with_prompt = _pooling(pooling / "config.json")
    if prompt and not with_prompt:
        raise ModelError(
            "the default prompt's tokens are left out of the pooling ('include_prompt' is false), which langadapt cannot do",
            where=str(pooling / "config.json"),
            hint="Take a base that pools its prompt too, or one without a default prompt.",
        )
    length, lowercase = _transformer(transformer)
    settings = EncoderSettings(
        pooler={"use": pooler}, max_length=length, prompt=prompt, prompts=prompts, normalize=kinds[-1] == "Normalize"
    )
    dense = tuple(_dense(path) for kind, path in modules if kind == "Dense")
    return SentenceFolder(transformer, settings.with_(transforms=len(dense)), lowercase, dense)


AFTER = ("Dense", "Normalize")
"""Modules that may follow the pooling."""


def _modules(folder: Path) -> list[tuple[str, Path]]:
    """(kind, folder) of each module, in order."""
    path = folder / MODULES
    stated = read_settings_json(path)
    if not isinstance(stated, list) or not stated or not all(isinstance(item, dict) for item in stated):
        raise ModelError("is no list of modules", where=str(path), hint="Fetch or copy the folder again.")
    found = []
    for item in stated:
        if not isinstance(item.get("type"), str) or not isinstance(item.get("path"), str):
            raise ModelError("has a module without 'type' or 'path'", where=str(path), hint="Fetch or copy the folder again.")
        if not item["type"].startswith("sentence_transformers."):
            raise ModelError(
                f"names the module '{item['type'][:80]}', which would be code from elsewhere",
                where=str(path),
                hint="langadapt runs no code of a folder: pick a base of sentence-transformers' own modules.",
            )
        found.append((item["type"].rsplit(".", 1)[-1], inside(folder, item["path"], path)))
    return found


def _transformer(folder: Path) -> tuple[int, bool]:
    """(maximum length, 0 where it is not stated here; whether texts are put in lower case) of the transformer module."""
    path = next((folder / name for name in TRANSFORMER_FILES if (folder / name).is_file()), None)
    if path is None:
        return 0, False
    stated = read_settings_file(path)
    for key, value in stated.items():
        if key in ("max_seq_length", "do_lower_case", *MACHINE) or not value or PLAIN.get(key) == value:
            continue
        raise ModelError(
            f"sets '{key}' to {value!r}"[:200] + ", which langadapt does not do",
            where=str(path),
            hint="Pick a base without it: its vectors would differ.",
        )
    length, lowercase = stated.get("max_seq_length"), stated.get("do_lower_case")
    if length is not None and (isinstance(length, bool) or not isinstance(length, int) or length < 1):
        raise ModelError(f"its 'max_seq_length' is {length!r}"[:200], where=str(path), hint="A whole number of tokens is meant.")
    return length or 0, bool(lowercase)


def _prompts(folder: Path, unit: bool) -> tuple[str, dict[str, str]]:
    """(default prompt, all prompts by name).  Of unit vectors, every similarity ranks as the cosine does."""
    path = folder / PROMPTS
    if not path.is_file():
        return "", {}
    stated = read_settings_file(path)
    prompts, default = stated.get("prompts") or {}, stated.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise ModelError("its 'prompts' are no texts by name", where=str(path), hint="Fetch or copy the folder again.")
    if default is not None and default not in prompts:
        raise ModelError(f"its default prompt '{str(default)[:80]}' is none of its prompts", where=str(path))
    similarity = stated.get("similarity_fn_name") or "cosine"
    if similarity != "cosine" and not unit:
        raise ModelError(
            f"compares vectors by '{str(similarity)[:80]}', and langadapt by cosine",
            where=str(path),
            hint="Pick a base whose similarity is cosine.",
        )
    return (str(prompts[default]) if default is not None else ""), {name: text for name, text in prompts.items() if text}


def _pooling(path: Path) -> tuple[str, bool]:
    """(our pooler, whether the prompt's tokens are pooled) of either layout: one key a mode, or ``pooling_mode``."""
    stated = read_settings_file(path)
    modes = [key.removeprefix("pooling_mode_") for key, on in stated.items() if key.startswith("pooling_mode_") and on]
    if "pooling_mode" in stated:
        given = stated["pooling_mode"]
        modes = [str(mode) for mode in given] if isinstance(given, list) else [str(given)]
    if len(modes) != 1 or modes[0] not in POOLERS:
        raise ModelError(
            f"pooling by {' and '.join(modes)[:120] or 'nothing'} is not known here", where=str(path), hint=f"Known: {', '.join(POOLERS)}."
        )
    return POOLERS[modes[0]], bool(stated.get("include_prompt", True))


def _dense(folder: Path) -> tuple[Any, Any]:
    """(weight, bias) of a dense layer without an activation."""
    import torch
    from safetensors.torch import load_file

    stated: Mapping[str, Any] = read_settings_file(folder / "config.json")
    activation = str(stated.get("activation_function", "torch.nn.modules.activation.Tanh"))
    ends = [stated.get(key, "sentence_embedding") for key in ("module_input_name", "module_output_name")]
    if activation.rsplit(".", 1)[-1] != "Identity" or any(end not in ("sentence_embedding", None) for end in ends):
        raise ModelError(
            f"a dense layer with the activation '{activation[:80]}' is not known here",
            where=str(folder / "config.json"),
            hint="Pick a base whose dense layers are linear (activation Identity), or without any.",
        )
    weights = folder / "model.safetensors"
    if not weights.is_file() and (folder / "pytorch_model.bin").is_file():
        raise ModelError(
            "the dense layer's weights are pickled, and loading a pickle can run any code",
            where=str(folder),
            hint="Convert them to safetensors where you trust their origin.",
        )
    regular(weights)
    shapes = header(weights)
    width = shapes.get("linear.weight", ())
    if len(width) != 2 or shapes.get("linear.bias", (width[0],)) != (width[0],):
        raise ModelError("holds no 'linear.weight' (d', d) and 'linear.bias' (d')", where=str(weights))
    tensors = load_file(str(weights))
    bias = tensors.get("linear.bias", torch.zeros(width[0]))
    if not all(bool(torch.isfinite(tensor).all()) for tensor in (tensors["linear.weight"], bias)):
        raise ModelError("holds values that are no numbers", where=str(weights))
    return tensors["linear.weight"].float(), bias.float()
