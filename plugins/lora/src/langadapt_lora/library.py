"""The few calls into peft: add, save and load modules inside a model that keeps its class."""

from __future__ import annotations

import json
import logging
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langadapt.contracts.checkpoints import check_safetensors
from langadapt.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# bitsandbytes, which peft imports, says at import which optional kernel it would like to download.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def inject(model: PreTrainedModel, config: Any, name: str) -> None:
    """Add modules to the body, freshly initialised; they train, and nothing added earlier stops training."""
    from peft import inject_adapter_in_model

    before = {key for key, value in model.named_parameters() if value.requires_grad}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Conv1D layers and of a second set of modules: both are meant
        inject_adapter_in_model(config, model.base_model, adapter_name=name)
    own = _own(name)
    for key, value in model.named_parameters():
        value.requires_grad_(key in before or own.search(key) is not None)


def _own(name: str) -> re.Pattern[str]:
    """Matches the tensors of one set of modules.

    An adapter may be called as a module is ("query"): its own tensors stand below peft's containers.
    """
    return re.compile(rf"\.(?:lora_\w+|ia3_l)\.{re.escape(name)}(?:\.|$)")


def save(model: PreTrainedModel, name: str, folder: Path) -> None:
    """Write one set of modules as peft's own loader reads it."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    body: Any = model.base_model
    found = get_peft_model_state_dict(body, adapter_name=name, save_embedding_layers=False)
    tensors = {f"base_model.model.{key}": value.detach().cpu().contiguous() for key, value in sorted(found.items())}
    save_file(tensors, str(folder / WEIGHTS), metadata={"format": "pt"})
    config = body.peft_config[name]
    config.save_pretrained(str(folder))
    # Sets come out in any order, and a path of this machine is nobody's business: equal weights give equal bytes.
    stated = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    for key, value in stated.items():
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            stated[key] = sorted(value)
    stated |= {"base_model_name_or_path": None, "inference_mode": True}
    (folder / CONFIG).write_text(json.dumps(stated, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def restore(model: PreTrainedModel, name: str, folder: Path) -> None:
    """Add modules with saved weights, trainable.

    Raises:
        ModelError: no adapter there, a truncated one, or one for another base.
    """
    from peft import PeftConfig, set_peft_model_state_dict
    from safetensors.torch import load_file

    for file in (CONFIG, WEIGHTS):
        if not (folder / file).is_file():
            raise ModelError(f"there is no {file}", where=str(folder), hint="Is this an adapter that peft saved?")
    check_safetensors(folder / WEIGHTS)
    try:
        config = PeftConfig.from_pretrained(str(folder))
        config.inference_mode = False
        inject(model, config, name)
        tensors = {key.removeprefix("base_model.model."): value for key, value in load_file(str(folder / WEIGHTS)).items()}
        left = set_peft_model_state_dict(model.base_model, tensors, adapter_name=name)
    except (ValueError, TypeError, RuntimeError, KeyError) as error:
        raise ModelError(f"the adapter does not fit this base: {' '.join(str(error).split())[:300]}", where=str(folder)) from error
    if left.unexpected_keys:
        raise ModelError(f"the adapter is for another base: nothing takes '{left.unexpected_keys[0]}'", where=str(folder))
    missing = [key for key in left.missing_keys if _own(name).search(key)]
    if missing:  # they would train from a random start
        raise ModelError(f"the adapter is for another base, or cut short: it lacks '{missing[0]}'", where=str(folder))


def activate(model: PreTrainedModel, name: str) -> None:
    """Let one set of modules act; all go on training."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    trained = [value for value in model.parameters() if value.requires_grad]
    for module in model.base_model.modules():
        if isinstance(module, BaseTunerLayer):
            module.set_adapter(name)
    for value in trained:  # switching freezes what is switched off, but its gradients are still to come
        value.requires_grad_(True)
