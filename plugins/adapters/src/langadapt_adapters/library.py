"""The one door to the library `adapters`: architectures and hook points, switching on, freezing, saving, loading.

The library changes the model it is given in place.  What it does beyond that, and what is done about it here:

* it wraps fused query-key-value projections for LoRA and gives those without a bias a random one, which changes the outputs
  (ModernBERT, DeBERTa) and breaks quantised layers.  No component of this plugin is a LoRA, so hook points name the bottleneck
  method alone; where the library has code of its own for an architecture, biases it adds are taken away again;
* it freezes the body and leaves a masked-LM head training;
* it writes the folder the base was loaded from into the adapter's settings;
* it names a prefix once for the model and once for each layer, which safetensors refuses to save.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langadapt.errors import ModelError
from langadapt_adapters.folders import BOTTLENECK, PREFIX, WEIGHTS, check_adapter

for _name in ("adapters.model_mixin", "bitsandbytes"):  # 'none are activated' while one is added; kernels nobody asked for
    logging.getLogger(_name).setLevel(logging.ERROR)

if TYPE_CHECKING:
    import torch
    from adapters import AdapterModelInterface
    from adapters.composition import AdapterCompositionBlock
    from transformers import PretrainedConfig, PreTrainedModel

NAME = "adapter"
"""Name, inside the library, of the adapter that trains."""

PREFIX_FAMILIES = ("bert", "roberta", "xlm-roberta")
"""Model types whose prefix is known to train.  On Llama and GPT-2 the library takes one and no gradient reaches it."""

ALIAS = ".prefix_tuning.pool."
"""In names of weights: the one set of prefixes, seen once more from each layer."""


def prepare(model: PreTrainedModel, method: str) -> None:
    """Give `model` places for adapters of `method`, in place.  Outputs and weights stay what they were.

    Raises:
        ModelError: the architecture is unknown, cannot do the method, or already carries an adapter.
    """
    import adapters
    from adapters import ModelAdaptersMixin

    if isinstance(model, ModelAdaptersMixin) and len(model.adapters_config):
        raise ModelError(
            "the encoder already carries an adapter", hint="Load the encoder anew, or build on the adapter with 'stack' or 'fuse'."
        )
    family = model.config.model_type
    if method == PREFIX and family not in PREFIX_FAMILIES:
        raise ModelError(
            f"prefix tuning does not work on '{family}': the library has no place for a prefix there, or none that trains",
            hint=f"Use 'bottleneck' there; 'prefix' is for {', '.join(PREFIX_FAMILIES)}.",
        )
    points = hook_points(model.config)
    if points is None and not has_own_code(model):
        raise ModelError(
            f"there is no way to put adapters into the architecture '{family}' ({type(model).__name__})",
            hint="Use adaptation 'full', or LoRA, which needs no knowledge of the architecture.",
        )
    before, quantised = set(model.state_dict()), _quantised(model)
    # The library appends to this list, which belongs to the class and so to every later model of it.
    if isinstance(model._tied_weights_keys, list):
        model._tied_weights_keys = list(model._tied_weights_keys)
    adapters.init(model, interface=points)
    if lost := quantised - _quantised(model):
        raise ModelError(
            f"'{family}' cannot carry adapters while quantised: the library replaces {sorted(lost)[0]} by an unquantised layer",
            hint="Load the encoder without quantisation.",
        )
    _drop_new_biases(model, before)


def hook_points(config: PretrainedConfig) -> AdapterModelInterface | None:
    """Where the library hooks its bottlenecks in, or None where it has code of its own (or none at all)."""
    from adapters.wrappers.interfaces import get_adapter_interface

    if config.model_type == "bloom":
        return _bloom(config)
    points = get_adapter_interface(config.model_type)
    if points is None or BOTTLENECK not in points.adapter_methods:
        return None
    return dataclasses.replace(points, adapter_methods=[BOTTLENECK])


def _bloom(config: PretrainedConfig) -> AdapterModelInterface:
    """Bloom's hook points.

    A bottleneck after the feed-forward block gets the residual that entered the block, as the library takes it: the first input
    of the module named `layer_pre_ffn`.  Bloom adds the state *before* its norm, which is what enters `post_attention_layernorm`;
    `mlp` would give the normalised state instead.  A Bloom with `apply_residual_connection_post_layernorm` adds the normalised
    state, and there `mlp` (and `self_attention`) is the right one.
    """
    from adapters import AdapterModelInterface

    if config.pretraining_tp > 1 and config.slow_but_exact:
        raise ModelError(
            "a Bloom with slow_but_exact multiplies by slices of its matrices and never calls the layers adapters hang on",
            hint="Set slow_but_exact to false in its config.json.",
        )
    normalised = config.apply_residual_connection_post_layernorm
    return AdapterModelInterface(
        adapter_methods=[BOTTLENECK],
        model_embeddings="word_embeddings",
        model_layers="h",
        layer_self_attn="self_attention",
        layer_cross_attn=None,
        attn_qkv_proj="query_key_value",
        attn_o_proj="dense",
        layer_intermediate_proj="mlp.dense_h_to_4h",
        layer_output_proj="mlp.dense_4h_to_h",
        layer_pre_self_attn="self_attention" if normalised else "input_layernorm",
        layer_pre_ffn="mlp" if normalised else "post_attention_layernorm",
    )


def has_own_code(model: PreTrainedModel) -> bool:
    """True when the library has code of its own for this architecture."""
    from adapters.models import MODEL_MIXIN_MAPPING
    from adapters.wrappers.model import get_module_name

    if type(model.base_model).__name__ not in MODEL_MIXIN_MAPPING:
        return False
    name = get_module_name(model.config.model_type)
    try:
        return importlib.util.find_spec(f"adapters.models.{name}.modeling_{name}") is not None
    except ModuleNotFoundError:
        return False


def _quantised(model: PreTrainedModel) -> set[str]:
    """Names of bitsandbytes layers."""
    found = set()
    for name, module in model.named_modules():
        if any(base.__module__.startswith("bitsandbytes") for base in type(module).__mro__):
            found.add(name)
    return found


def _drop_new_biases(model: PreTrainedModel, before: set[str]) -> None:
    """Take away biases that the library gave to layers without one (see the module's docstring)."""
    for key in set(model.state_dict()) - before:
        if key.endswith(".bias"):
            model.get_submodule(key.removesuffix(".bias")).bias = None


def place(model: PreTrainedModel, name: str = NAME) -> None:
    """Move an adapter to the base's device and precision; the library makes it on the CPU in float32."""
    model.adapter_to(name, device=model.device, dtype=model.dtype)


def train_only(model: PreTrainedModel, active: str | AdapterCompositionBlock, fusion: bool = False) -> None:
    """Freeze all weights but the adapter's (or the fusion's), and let `active` take part in every forward pass."""
    training = model.training
    model.requires_grad_(False)
    if fusion:
        model.train_adapter_fusion(active)
    else:
        model.train_adapter(NAME)
        model.set_active_adapters(active)
    model.train(training)


def save_plain(model: PreTrainedModel, folder: Path, name: str = NAME) -> None:
    """Write one adapter into `folder` as the library does.

    Saved from the body, so that names of weights do not depend on whether a head was there in training.
    """
    from adapters.loading import AdapterLoader
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    body = model.base_model
    with _without_origin(model.config):
        if model.adapters_config.get(name).architecture == PREFIX:
            loader = AdapterLoader(body, use_safetensors=True)
            weights, settings = loader.save_to_state_dict(name)
            save_file(_as_they_act(body, {key: weight for key, weight in weights.items() if ALIAS not in key}), folder / WEIGHTS)
            loader.weights_helper.save_weights_config(str(folder), settings)
        else:
            body.save_adapter(str(folder), name, use_safetensors=True)


def _as_they_act(body: PreTrainedModel, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights that something else makes (parametrised ones) as what it makes, in place of what it makes them from."""
    made = {key.partition(".parametrizations.") for key in weights if ".parametrizations." in key}
    found = {key: weight for key, weight in weights.items() if ".parametrizations." not in key}
    for module, _, rest in made:
        name = rest.partition(".")[0]
        found[f"{module}.{name}"] = getattr(body.get_submodule(module), name).detach().contiguous()
    return found


def save_fusion(model: PreTrainedModel, folder: Path, name: str) -> None:
    """Write one fusion into `folder` as the library does."""
    folder.mkdir(parents=True, exist_ok=True)
    with _without_origin(model.config):
        model.base_model.save_adapter_fusion(str(folder), name, use_safetensors=True)


@contextlib.contextmanager
def _without_origin(config: PretrainedConfig) -> Iterator[None]:
    """Hide the folder the base was loaded from: a place on this machine says nothing to anybody else."""
    origin = config.name_or_path
    if Path(origin).exists():
        config.name_or_path = ""
    try:
        yield
    finally:
        config.name_or_path = origin


def load_plain(model: PreTrainedModel, folder: Path, method: str, name: str = NAME) -> dict[str, Any]:
    """Add the adapter saved in `folder`, frozen, and return its settings.  `model` has been prepared.

    Raises:
        ModelError: the folder is missing, damaged or foreign, or does not fit the encoder.
    """
    settings = check_adapter(folder, model.config, method)
    info: dict[str, Sequence[str]] = {}
    try:
        # Into the body: a model with a head would also take a head from the folder, pickled or not.
        model.base_model.load_adapter(str(folder), load_as=name, use_safetensors=True, loading_info=info)
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        model.delete_adapter(name)
        raise ModelError(
            f"the adapter does not fit this encoder: {' '.join(str(error).split())[:300]}",
            where=str(folder),
            hint="Load it on the encoder it was trained on.",
        ) from error
    # A missing weight would keep its random start and an additional one be dropped, both without a word.
    missing = [key for key in info.get("missing_keys") or [] if ALIAS not in key]
    additional = info.get("unexpected_keys") or []
    if missing or additional:
        model.delete_adapter(name)
        which = f"lacks {missing[0]}" if missing else f"has {additional[0]}, for which there is no place"
        raise ModelError(
            f"the adapter does not fit this encoder: it {which}", where=str(folder), hint="Load it on the encoder it was trained on."
        )
    place(model, name)
    return settings
