"""``do: train-tokenizer``: train, extend or prune a tokenizer on text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langadapt.artifacts import dataset
from langadapt.modeling.loading import load_tokenizer, save_tokenizer
from langadapt.stages.job import Job


def run(job: Job) -> dict[str, Any]:
    tables = [dataset.load(folder) for folder in job.inputs["corpus"]]

    def texts() -> Iterator[str]:
        for table in tables:
            yield from table.texts()

    base = load_tokenizer(job.need("encoder")) if job.one("encoder") else None
    tokenizer = job.slot("tokenizer").train(texts(), base, job.ctx)
    save_tokenizer(tokenizer, job.folder)
    before = f" (base: {len(base):,})" if base is not None else ""
    job.ctx.log.info(f"{len(tokenizer):,} tokens{before}")
    return {"type": "Tokenizer", "tokens": len(tokenizer)}
