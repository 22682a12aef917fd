"""Checkpoint folders that other libraries load."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from langadapt.contracts import Exporter
from langadapt.contracts.checkpoints import save_checkpoint
from langadapt.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from langadapt.contracts import EncoderSettings
    from langadapt.contracts.checkpoints import EncoderModule


class Transformers(Exporter):
    """Weights (safetensors), config and fast tokenizer, as ``AutoModel`` and ``AutoTokenizer`` load them.

    A masked-LM head is kept where the last training had one.  The unused pooling layer of BERT and RoBERTa is written as zeros:
    left out, every loader would start it at random and warn of an untrained model.
    """

    name: ClassVar[str] = "transformers"

    def export(
        self,
        encoder: EncoderModule,
        tokenizer: PreTrainedTokenizerFast,
        settings: EncoderSettings,
        folder: Path,
        texts: Iterable[str] | None = None,
    ) -> None:
        save_with_length(encoder.model, tokenizer, settings.max_length, folder)
        if getattr(encoder.model, "pooler", 0) is None and encoder.model.config.model_type in WITH_POOLER:
            _add_empty_pooler(folder / "model.safetensors", int(encoder.model.config.hidden_size))


def save_with_length(model: Any, tokenizer: PreTrainedTokenizerFast, length: int, folder: Path) -> None:
    """Write a checkpoint whose tokenizer states the maximum length that the encoder was made for."""
    before, tokenizer.model_max_length = tokenizer.model_max_length, length
    try:
        save_checkpoint(model, tokenizer, folder)
    finally:
        tokenizer.model_max_length = before


WITH_POOLER = ("bert", "roberta", "xlm-roberta", "camembert")


def _add_empty_pooler(path: Path, width: int) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    if not path.is_file():  # sharded: too large a model for the warning to matter
        return
    tensors = load_file(str(path))
    tensors |= {"pooler.dense.weight": torch.zeros(width, width), "pooler.dense.bias": torch.zeros(width)}
    save_file(tensors, str(path), metadata={"format": "pt"})


class SentenceTransformers(Transformers):
    """A folder that ``SentenceTransformer(PATH)`` loads: checkpoint, pooling, fitted transforms as dense layers, prompt.

    Raises ModelError when the pooler has no counterpart there.
    """

    name: ClassVar[str] = "sentence-transformers"

    def export(
        self,
        encoder: EncoderModule,
        tokenizer: PreTrainedTokenizerFast,
        settings: EncoderSettings,
        folder: Path,
        texts: Iterable[str] | None = None,
    ) -> None:
        super().export(encoder, tokenizer, settings, folder)
        pooling, shares = encoder.pooler.sentence_transformers, encoder.pooler.layer_weights(encoder.spec, encoder.pooling)
        if pooling is None and shares is None:
            raise ModelError(
                f"the pooler '{encoder.pooler.name}' has no counterpart in sentence-transformers",
                hint="Release it with exporters: [transformers]; langadapt's Encoder loads that.",
            )
        if shares is not None and shares[-1] and hasattr(encoder.body, "final_norm"):
            raise ModelError(
                f"sentence-transformers weighs the last layer of '{encoder.spec.architecture}' before its final norm",
                hint="Release it with exporters: [transformers]; langadapt's Encoder loads that.",
            )
        if settings.output is not None:
            raise ModelError(
                f"sentence-transformers has no module that stores vectors as '{settings.output['use']}' does",
                hint="Release the encoder of the stage before, and quantise there; or use exporters: [transformers].",
            )
        width = encoder.spec.width
        modules = [("Transformer", "")]
        if shares is not None:
            modules.append(("WeightedLayerPooling", "1_WeightedLayerPooling"))
            _layer_pooling(shares, width, folder / "1_WeightedLayerPooling")
            _give_all_layers(folder / "config.json")
        path = f"{len(modules)}_Pooling"
        modules.append(("Pooling", path))
        write_json(folder / path / "config.json", _pooling_config(pooling or "mean", width))
        if shares is not None and abs(sum(shares) - 1) > 1e-6:  # the peer divides by their sum
            modules.append(("Dense", f"{len(modules)}_Dense"))
            _dense(_factor(sum(shares), width), folder / modules[-1][1])
        for layer in encoder.transforms:
            path = f"{len(modules)}_Dense"
            _dense(layer, folder / path)
            modules.append(("Dense", path))
        if settings.normalize:
            path = f"{len(modules)}_Normalize"
            (folder / path).mkdir(exist_ok=True)
            modules.append(("Normalize", path))
        write_json(
            folder / "modules.json",
            [
                {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
                for i, (kind, path) in enumerate(modules)
            ],
        )
        write_json(folder / "sentence_bert_config.json", {"max_seq_length": settings.max_length, "do_lower_case": False})
        prompts, default = _prompts(settings)
        write_json(
            folder / "config_sentence_transformers.json",
            {"prompts": prompts, "default_prompt_name": default, "similarity_fn_name": "cosine"},
        )


def _layer_pooling(shares: list[float], width: int, folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    write_json(folder / "config.json", {"word_embedding_dimension": width, "layer_start": 0, "num_hidden_layers": len(shares) - 1})
    save_file({"layer_weights": torch.tensor(shares)}, str(folder / "model.safetensors"))


def _give_all_layers(path: Path) -> None:
    """Let the peer's transformer hand its layers on: it does where the configuration says so."""
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), "output_hidden_states": True})


def _factor(value: float, width: int) -> Any:
    """A layer that multiplies by one number."""
    import torch

    layer = torch.nn.Linear(width, width)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(width) * value)
        layer.bias.zero_()
    return layer


def _prompts(settings: EncoderSettings) -> tuple[dict[str, str], str | None]:
    """Prompts by name, and the name of the one that is put before every text."""
    prompts = dict(settings.prompts)
    if not settings.prompt:
        return prompts, None
    name = next((name for name, text in prompts.items() if text == settings.prompt), "default")
    return {**prompts, name: settings.prompt}, name


def _pooling_config(mode: str, width: int) -> dict[str, Any]:
    names = {
        "cls": "pooling_mode_cls_token",
        "mean": "pooling_mode_mean_tokens",
        "max": "pooling_mode_max_tokens",
        "weightedmean": "pooling_mode_weightedmean_tokens",
        "lasttoken": "pooling_mode_lasttoken",
    }
    return {"word_embedding_dimension": width, **{key: name == mode for name, key in names.items()}, "include_prompt": True}


def _dense(layer: Any, folder: Path) -> None:
    from safetensors.torch import save_file

    folder.mkdir(exist_ok=True)
    config = {
        "in_features": layer.in_features,
        "out_features": layer.out_features,
        "bias": True,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    write_json(folder / "config.json", config)
    tensors = {"linear.weight": layer.weight.detach().cpu().contiguous(), "linear.bias": layer.bias.detach().cpu().contiguous()}
    save_file(tensors, str(folder / "model.safetensors"))


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
