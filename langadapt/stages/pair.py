"""``do: pair``: read sentence pairs into a standard column set."""

from __future__ import annotations

from typing import Any

from langadapt.artifacts import dataset
from langadapt.errors import DataError
from langadapt.stages.collect import select
from langadapt.stages.job import Job

TEXTS = ("premise", "hypothesis", "sentence1", "sentence2", "anchor", "positive", "negative")


def run(job: Job) -> dict[str, Any]:
    reader, normalizer = job.slot("source"), job.slot("normalizer")
    rows: list[dict[str, Any]] = []
    for row in job.ctx.log.track(reader.pairs(job.slot("translator"), job.ctx), f"reading {reader.name}"):
        if normalizer:
            row = {k: normalizer.normalize(v) if k in TEXTS and v else v for k, v in row.items()}
        rows.append(row)
    if len(rows) < 2:
        count = "no pairs" if not rows else "one pair only"
        raise DataError(f"{reader.name}: {count}", where=job.planned.where, hint="Training needs at least two.")
    data, dropped = select(job, dataset.from_rows(rows))
    note = next((resource.note for resource in job.planned.resources() if resource.note), "")
    dataset.save(data, {"note": note, **dropped}, job.folder)
    job.ctx.log.info(f"{len(data):,} pairs ({', '.join(data.column_names)})")
    return {"type": "Pairs", "rows": len(data)}
