"""The identity of a base's weights, the same for every file layout that holds the same body.

An adapter fits one base only, and file digests do not tell: the same weights are saved with or without a head, an unused pooling
layer or a prefix, in one file or in shards, in half precision or not.  So the digest is over the body's tensors, as float32.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from langadapt.errors import ModelError
from langadapt.modeling.checkpoint_folder import header, weight_files
from langadapt.modeling.loading import HEAD_PREFIXES

BUFFERS = ("position_ids", "token_type_ids", "inv_freq")
"""Endings of tensors that follow from the configuration; some versions save them."""


def weights_digest(folder: Path) -> str:
    """sha256 over names, shapes and float32 values of the body's tensors, in the order of their names.

    One tensor is in memory at a time.

    Raises:
        ModelError: there are no safetensors in the folder, or they are truncated.
    """
    import torch
    from safetensors import safe_open

    places: dict[str, Path] = {}
    for file in weight_files(folder):
        places.update(dict.fromkeys(header(file), file))
    body = _body(folder, places)
    if not body:
        raise ModelError("there are no safetensors weights to know the base by", where=str(folder))
    whole = hashlib.sha256()
    for name, saved in sorted(body.items()):
        with safe_open(places[saved], framework="pt") as handle:
            tensor = handle.get_tensor(saved).to(torch.float32).contiguous()
        whole.update(f"{name} {list(tensor.shape)}\n".encode())
        whole.update(tensor.numpy().data)
    return whole.hexdigest()


def _body(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """The body's tensors: present name without prefix → name in the file."""
    prefix = _prefix(folder, names)
    found = {name.removeprefix(prefix): name for name in names if name.startswith(prefix)}
    # What all names begin with is no head: OPT keeps its body under 'decoder.'.
    heads = tuple(head for head in HEAD_PREFIXES if not all(name.startswith(head) for name in found))
    return {_present(name): saved for name, saved in found.items() if not name.startswith(heads) and not name.endswith(BUFFERS)}


def _prefix(folder: Path, names: Iterable[str]) -> str:
    """``bert.`` where a model with a head keeps its whole body under one name, else nothing."""
    from transformers import MODEL_MAPPING, AutoConfig

    try:
        family = MODEL_MAPPING[type(AutoConfig.from_pretrained(str(folder), trust_remote_code=False))]
        prefix = f"{getattr(family, 'base_model_prefix', '')}."
    except (OSError, ValueError, KeyError):  # no configuration, or none that is known: one name above all is the prefix
        firsts = {name.partition(".")[0] for name in names if not name.startswith(HEAD_PREFIXES)}
        prefix = f"{firsts.pop()}." if len(firsts) == 1 else "."
    return prefix if any(name.startswith(prefix) for name in names) else ""


def _present(name: str) -> str:
    """Checkpoints of old call a norm's weight ``gamma`` and its bias ``beta``; loading renames them."""
    return re.sub(r"(?<=LayerNorm\.)gamma$", "weight", re.sub(r"(?<=LayerNorm\.)beta$", "bias", name))
