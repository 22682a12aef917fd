"""``do: fit-transform``: fit an affine map on an encoder's vectors and ship it with the encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from langadapt.artifacts import dataset
from langadapt.artifacts import encoder as encoders
from langadapt.artifacts.encoder import LoadedEncoder
from langadapt.contracts.vectors import Transform
from langadapt.errors import ModelError
from langadapt.verbs.job import Job


def run(job: Job) -> dict[str, Any]:
    table = dataset.load(job.need("data"))
    texts = list(dict.fromkeys(table.texts()))
    # Before any scaling to length one: that is where the encoder applies a linear map.
    vectors = job.inference(job.need("encoder")).encode(texts, progress=job.ctx.log, normalize=False)
    transform: Transform = job.slot("transform")
    fitted = transform.fit(vectors)
    loaded = job.encoder("encoder")
    loaded.module(job.pooler(loaded))  # its weights, where it has some, go along
    if loaded.settings.output is not None:
        raise ModelError(
            f"its vectors are stored through '{loaded.settings.output['use']}': nothing can be fitted behind that",
            where=job.planned.where,
            hint="Fit this transform first.",
        )
    if (linear := fitted.linear()) is not None:
        add_linear(loaded, *linear)
    else:
        if loaded.settings.normalize:  # stored vectors are units then
            fitted = transform.fit(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
        loaded.settings, loaded.output = loaded.settings.with_(output=transform.slot()), fitted.arrays()
    encoders.save(loaded, job.folder)
    job.ctx.log.info(f"fitted on {len(texts):,} vectors: {vectors.shape[1]} → {fitted.width} dimensions")
    return {"type": "Encoder"}


def add_linear(loaded: LoadedEncoder, weight: np.ndarray, bias: np.ndarray) -> None:
    """Put a linear map behind the encoder's others, in one matrix with the last of them."""
    more, shift = torch.from_numpy(weight).double(), torch.from_numpy(bias).double()
    if loaded.transforms:
        before, offset = (torch.as_tensor(part).double() for part in loaded.transforms.pop())
        more, shift = more @ before, more @ offset + shift
    loaded.transforms.append((more.float().contiguous(), shift.float().contiguous()))
