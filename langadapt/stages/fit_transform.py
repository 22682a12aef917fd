"""``do: fit-transform``: fit an affine map on an encoder's vectors and ship it with the encoder."""

from __future__ import annotations

from typing import Any

import torch

from langadapt.artifacts import dataset
from langadapt.artifacts import encoder as encoders
from langadapt.stages.job import Job


def run(job: Job) -> dict[str, Any]:
    table = dataset.load(job.need("data"))
    texts = list(dict.fromkeys(table.texts()))
    vectors = job.inference(job.need("encoder")).encode(texts, progress=job.ctx.log)
    weight, bias = job.slot("transform").fit(vectors)
    loaded = job.encoder("encoder")
    loaded.transforms.append((torch.from_numpy(weight).contiguous(), torch.from_numpy(bias).contiguous()))
    encoders.save(loaded, job.folder)
    job.ctx.log.info(f"fitted on {len(texts):,} vectors: {weight.shape[1]} → {weight.shape[0]} dimensions")
    return {"type": "Encoder"}
