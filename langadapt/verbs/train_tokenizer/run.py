"""``do: train-tokenizer``: train, extend or prune a tokenizer on text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langadapt.artifacts import dataset
from langadapt.modeling.loading import load_tokenizer, save_tokenizer
from langadapt.verbs.job import Job


class Texts:
    """The texts of several tables; can be walked more than once."""

    def __init__(self, tables: list[dataset.Table]) -> None:
        self.tables = tables

    def __iter__(self) -> Iterator[str]:
        for table in self.tables:
            yield from table.texts()


def run(job: Job) -> dict[str, Any]:
    texts = Texts([dataset.load(folder) for folder in job.inputs["corpus"]])
    base = load_tokenizer(job.need("encoder")) if job.one("encoder") else None
    tokenizer = job.slot("tokenizer").train(texts, base, job.ctx)
    save_tokenizer(tokenizer, job.folder)
    before = f" (base: {len(base):,})" if base is not None else ""
    job.ctx.log.info(f"{len(tokenizer):,} tokens{before}")
    return {"type": "Tokenizer", "tokens": len(tokenizer)}
