"""Trained adapters as peft and adapters save them, read into plain tensors.

Serving needs neither library: a folder holds ``adapter_config.json`` and one safetensors file, and the shapes say the rest.  What
cannot be served exactly is refused with its reason; nothing is approximated and no pickle is opened.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langadapt.errors import ModelError
from langadapt.files import path_identity, stamps
from langadapt.modeling.loading import check_safetensors
from langadapt.settings_files import read_settings_file

if TYPE_CHECKING:
    from torch import Tensor

CONFIG, PEFT, ADAPTERS = "adapter_config.json", "adapter_model.safetensors", "adapter.safetensors"
SETUP = "adapter_setup.json"
"""What adapters writes beside the subfolders of a composition."""


@dataclass(frozen=True)
class LowRank:
    """LoRA at one linear layer: ``y += up @ (down @ x)``, the scaling folded into `up` (Hu et al. 2021, arXiv:2106.09685)."""

    down: Tensor
    """(r, in)"""
    up: Tensor
    """(out, r)"""
    magnitude: Tensor | None = None
    """(out,) lengths of the adapted weight's rows (DoRA; Liu et al. 2024, arXiv:2402.09353)."""


@dataclass(frozen=True)
class Scale:
    """(IA)³ at one linear layer: its output, or its input, times a vector (Liu et al. 2022, arXiv:2205.05638)."""

    vector: Tensor
    """(out,), or (in,) where `on_input`."""
    on_input: bool


@dataclass(frozen=True)
class Bottleneck:
    """Houlsby et al. 2019 (arXiv:1902.00751): ``h += up(f(down(u)))`` at the end of a block, scaling folded into `up`.

    `u` is, by `form`: ``after`` the block's residual sum (normalised where the model normalises it there), ``before`` the
    block's own output, ``parallel`` the block's input.
    """

    down: Tensor
    """(r, d)"""
    down_bias: Tensor
    """(r,)"""
    up: Tensor
    """(d, r)"""
    up_bias: Tensor
    """(d,)"""
    activation: str
    form: str


Place = tuple[int, str]
"""(layer, ``attention`` or ``output``): the block at whose end a bottleneck stands."""


@dataclass(frozen=True)
class AdapterWeights:
    """One adapter: what it does at which module (by dotted name in the body) or block."""

    low_rank: dict[str, LowRank] = field(default_factory=dict)
    scales: dict[str, Scale] = field(default_factory=dict)
    bottlenecks: dict[Place, Bottleneck] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Weights held."""
        tensors: list[Any] = [one for low in self.low_rank.values() for one in (low.down, low.up, low.magnitude)]
        tensors += [scale.vector for scale in self.scales.values()]
        tensors += [t for b in self.bottlenecks.values() for t in (b.down, b.down_bias, b.up, b.up_bias)]
        return sum(tensor.numel() for tensor in tensors if tensor is not None)


def read_adapter(folder: Path) -> AdapterWeights:
    """Read an adapter that peft or adapters saved.

    Raises:
        ModelError: there is none, it is truncated or pickled, or it does something that cannot be served exactly.
    """
    from safetensors.torch import load_file

    config = _config(folder)
    file = next((folder / name for name in (PEFT, ADAPTERS) if (folder / name).is_file()), None)
    if file is None:
        pickled = sorted(path.name for path in folder.glob("*.bin"))
        if pickled:
            raise ModelError(
                f"the adapter is pickled ({pickled[0]}), and loading a pickle can run any code",
                where=str(folder),
                hint="Save it as safetensors where you trust its origin (adapters: save_adapter(…, use_safetensors=True)).",
            )
        raise ModelError(f"there is neither {PEFT} nor {ADAPTERS}", where=str(folder), hint="Is this an adapter folder?")
    check_safetensors(file)
    tensors = {name: tensor.float() for name, tensor in load_file(str(file)).items()}
    broken = next((name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())), None)
    if broken is not None:
        raise ModelError(f"'{broken}' holds values that are no numbers", where=str(file), hint="Take another copy of the adapter.")
    try:
        found = _from_peft(config, tensors, folder) if file.name == PEFT else _from_adapters(config, tensors, folder)
    except KeyError as error:
        raise ModelError(f"the adapter lacks the tensor or setting {error}", where=str(folder), hint="Save or copy it again.") from error
    except (AttributeError, TypeError, ValueError, RuntimeError, re.error) as error:
        raise ModelError(f"the adapter's settings or tensors are malformed: {error}", where=str(folder), hint="Save it again.") from error
    if not found.parameters:
        raise ModelError("the adapter holds no weights", where=str(file))
    return found


def parts_of(folder: Path) -> list[Path]:
    """The folders of the adapters that one adapter's folder applies one after another: itself, or the members of a stack.

    Raises:
        ModelError: a composition that is no stack of plain adapters, or a damaged one.
    """
    if not (folder / SETUP).is_file():
        return [folder]
    setup = _config(folder, SETUP).get("adapter_setup")
    if not isinstance(setup, dict) or not isinstance(setup.get("children"), list):
        raise ModelError("does not describe a composition", where=str(folder / SETUP), hint="Save or copy the adapter again.")
    if setup.get("type") != "Stack":
        raise _refuse(f"is of the composition '{setup.get('type')}'", folder)
    names = []
    for child in setup["children"]:
        inner = child.get("children") if isinstance(child, dict) and child.get("type") == "single" else None
        if not isinstance(inner, list) or len(inner) != 1:
            raise _refuse("nests compositions", folder)
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", str(inner[0])):
            raise ModelError(f"names an adapter '{inner[0]}', which is no plain folder name", where=str(folder / SETUP))
        names.append(str(inner[0]))
    if not names:
        raise ModelError("the stack has no members", where=str(folder / SETUP))
    return [folder / name for name in names]


def _config(folder: Path, name: str = CONFIG) -> dict[str, Any]:
    if not folder.is_dir():
        raise ModelError("there is no such adapter folder", where=str(folder))
    path = folder / name
    if not path.is_file():
        raise ModelError(f"there is no {name}", where=str(folder), hint="Is this an adapter folder?")
    return read_settings_file(path)


def steady_reader(folder: Path) -> Callable[[], AdapterWeights]:
    """A reading of an adapter that may be repeated, after its weights left memory, as long as its files are the same.

    Raises (when called again):
        ModelError: a file was changed since the first reading: vectors would change without a word.
    """
    seen: list[Any] = []

    def read() -> AdapterWeights:
        before = stamps(folder) if folder.is_dir() else ()
        if seen and seen[0] != before and path_identity(folder) != seen[1]:
            raise ModelError(
                "the adapter's files changed since it was added", where=str(folder), hint="Add it anew: add_adapter(…, replace=True)."
            )
        found = read_adapter(folder)
        if not seen or seen[0] != before:
            seen[:] = [before, path_identity(folder)]
        return found

    return read


def _refuse(what: str, folder: Path) -> ModelError:
    return ModelError(f"the adapter {what}, which cannot be served exactly", where=str(folder), hint="Load it with its own library.")


# peft ------------------------------------------------------------------------------------------------------------------

REFUSED = {
    "modules_to_save": "replaces whole modules",
    "trainable_token_indices": "trains token rows",
    "target_parameters": "targets bare parameters",
    "layer_replication": "repeats layers",
    "alora_invocation_tokens": "wakes at certain tokens",
    "use_qalora": "uses QA-LoRA",
    "use_bdlora": "uses block-diagonal matrices",
    "lora_bias": "trains biases in its matrices",
    "megatron_config": "is cut for Megatron",
    "arrow_config": "routes by Arrow",
    "monteclora_config": "samples its matrices",
    "kasa_config": "uses singular-value adaptation",
}
"""Settings of peft under which the plain formula does not hold."""

CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Initialisations of peft (beginnings of their names) that take the adapter's first values out of the base's own weights."""

LORA_PART = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.(?P<part>lora_A\.weight|lora_B\.weight|lora_magnitude_vector)")
IA3_PART = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.ia3_l")


def _from_peft(config: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> AdapterWeights:
    method = config.get("peft_type")
    for key, what in REFUSED.items():
        if config.get(key):
            raise _refuse(what, folder)
    if config.get("bias", "none") != "none":
        raise _refuse("trains biases", folder)
    if method == "LORA":
        return AdapterWeights(low_rank=_lora(config, tensors, folder))
    if method == "IA3":
        return AdapterWeights(scales=_ia3(tensors, folder))
    raise _refuse(f"is of peft's type {method}", folder)


def _lora(config: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> dict[str, LowRank]:
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(CHANGES_BASE):
        raise _refuse(f"began as '{start}', which changed the base's own weights", folder)
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = LORA_PART.fullmatch(key)
        if match is None:
            raise _refuse("changes the embedding" if "lora_embedding" in key else f"holds '{key}'", folder)
        parts.setdefault(match["module"], {})[match["part"]] = tensor
    found = {}
    for module, part in parts.items():
        down, up = part["lora_A.weight"], part["lora_B.weight"]
        alpha = _by_pattern(config.get("alpha_pattern") or {}, module, config["lora_alpha"])
        scaling = alpha / (down.shape[0] ** 0.5 if config.get("use_rslora") else down.shape[0])
        found[module] = LowRank(down, up * scaling, part["lora_magnitude_vector"] if config.get("use_dora") else None)
    return found


def _by_pattern(patterns: dict[str, float], module: str, default: float) -> float:
    """peft's rule: a pattern holds for names that end with it."""
    return next((value for pattern, value in patterns.items() if re.fullmatch(rf"(.*\.)?({pattern})", module)), default)


def _ia3(tensors: dict[str, Tensor], folder: Path) -> dict[str, Scale]:
    found = {}
    for key, vector in tensors.items():
        match = IA3_PART.fullmatch(key)
        if match is None:
            raise _refuse(f"holds '{key}'", folder)
        # peft shapes a factor of a layer's input (1, in), of its output (out, 1).
        found[match["module"]] = Scale(vector.flatten(), on_input=vector.shape[0] == 1)
    return found


# adapters --------------------------------------------------------------------------------------------------------------

PART = re.compile(
    r"(?:^|\.)(?:layer|layers|h)\.(?P<layer>\d+)\.(?P<place>attention\.output|output|attention_adapters|output_adapters)"
    r"\.adapters\.[^.]+\.(?P<part>.+)$"
)
PLACES = {"attention.output": "attention", "attention_adapters": "attention", "output": "output", "output_adapters": "output"}


def _from_adapters(config: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> AdapterWeights:
    options = config.get("config") or {}
    if options.get("architecture") is not None:
        raise _refuse(f"is of the method '{options['architecture']}'", folder)
    form = _form(options, folder)
    parts: dict[Place, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = PART.search(key)
        if match is None:
            raise _refuse(f"holds '{key}'", folder)
        place = (int(match["layer"]), PLACES[match["place"]])
        parts.setdefault(place, {})[match["part"]] = tensor
    activation = str(options["non_linearity"]).lower()
    return AdapterWeights(bottlenecks={place: _bottleneck(found, options, activation, form) for place, found in parts.items()})


def _form(options: dict[str, Any], folder: Path) -> str:
    """Where the bottleneck reads, from the library's switches."""
    for key in ("ln_before", "ln_after", "use_gating", "phm_layer", "adapter_residual_before_ln", "inv_adapter", "cross_adapter"):
        if options.get(key):
            raise _refuse(f"sets {key}", folder)
    if not options.get("original_ln_after", True):
        raise _refuse("switches original_ln_after off", folder)
    if options.get("is_parallel"):
        return "parallel"
    if options.get("residual_before_ln") is not True:
        raise _refuse(f"sets residual_before_ln to {options.get('residual_before_ln')}", folder)
    return "after" if options.get("original_ln_before") else "before"


def _bottleneck(parts: dict[str, Tensor], options: dict[str, Any], activation: str, form: str) -> Bottleneck:
    # 'learned' and 'channel' scalings are tensors of one value or one a dimension.
    scaling: Any = parts["scaling"] if "scaling" in parts else float(options.get("scaling", 1.0))
    up, up_bias = parts["adapter_up.weight"], parts["adapter_up.bias"]
    column = scaling.reshape(-1, 1) if "scaling" in parts else scaling
    return Bottleneck(parts["adapter_down.0.weight"], parts["adapter_down.0.bias"], up * column, up_bias * scaling, activation, form)
