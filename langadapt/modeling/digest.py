"""The identity of a base's weights, the same for every file layout that holds the same body.

An adapter fits one base only, and file digests do not tell: the same weights are saved with or without a head, an unused pooling
layer or a prefix, in one file or in shards, in half precision or not.  So the digest is over the body's tensors, as float32.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from langadapt.errors import ModelError
from langadapt.modeling.loading import HEAD_PREFIXES, check_safetensors

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
    for file in sorted(folder.glob("model*.safetensors")):
        check_safetensors(file)
        with safe_open(file, framework="numpy") as handle:
            places.update(dict.fromkeys(handle.keys(), file))
    body = [name for name in places if not name.startswith(HEAD_PREFIXES) and not name.endswith(BUFFERS)]
    if not body:
        raise ModelError("there are no safetensors weights to know the base by", where=str(folder))
    skip = len(_prefix(body))
    whole = hashlib.sha256()
    for name in sorted(body):
        with safe_open(places[name], framework="pt") as handle:
            tensor = handle.get_tensor(name).to(torch.float32).contiguous()
        whole.update(f"{name[skip:]} {list(tensor.shape)}\n".encode())
        whole.update(tensor.numpy().data)
    return whole.hexdigest()


def _prefix(names: list[str]) -> str:
    """``bert.`` where a model with a head keeps its whole body under one name, else nothing."""
    firsts = {name.partition(".")[0] for name in names}
    return f"{firsts.pop()}." if len(firsts) == 1 else ""
