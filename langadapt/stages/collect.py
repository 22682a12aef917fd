"""``do: collect``: read, normalise, filter and deduplicate text."""

from __future__ import annotations

import hashlib
from typing import Any

from langadapt.artifacts import dataset
from langadapt.artifacts.page import SAMPLES, Dropped
from langadapt.errors import DataError
from langadapt.stages.job import Job


def run(job: Job) -> dict[str, Any]:
    normalizer = job.slot("normalizer")
    seen: set[bytes] = set()
    rows: list[dict[str, Any]] = []
    read = empty = repeated = 0
    for reader in job.slot("corpus"):
        for document in job.ctx.log.track(reader.documents(job.ctx), f"reading {reader.name}"):
            read += 1
            text = normalizer.normalize(document.text) if normalizer else document.text
            text = text.strip()
            if not text:
                empty += 1
                continue
            mark = hashlib.blake2b(text.encode(), digest_size=12).digest()
            if mark in seen:
                repeated += 1
                continue
            seen.add(mark)
            rows.append({"text": text, "origin": document.origin})
    if not rows:
        raise DataError("the corpus is empty", where=job.planned.where, hint="Check the files behind its resource.")
    job.ctx.log.info(f"{read:,} documents read, {empty:,} empty, {repeated:,} exact repeats dropped")
    data, dropped = select(job, dataset.from_rows(rows))
    about = {"read": read, "empty": empty, "exact_repeats": repeated, **{f"dropped by {one.name}": one.count for one in dropped}}
    dataset.save(data, about, job.folder)
    return {"type": "Corpus", "rows": len(data)}


def select(job: Job, data: Any) -> tuple[Any, list[Dropped]]:
    """Run the stage's selectors in order; returns the rows left and what each dropped."""
    encoder = job.inference(job.need("encoder")) if job.one("encoder") else None
    dropped: list[Dropped] = []
    rows, data = data, data.add_column(PLACE, list(range(len(data))))
    for selector in job.slot("selectors") or []:
        before = data[PLACE]
        data = selector.select(data, encoder, job.ctx)
        gone = sorted(set(before) - set(data[PLACE]))
        places = job.ctx.rng(f"dropped by {selector.name}").permutation(gone)[:SAMPLES]
        dropped.append(Dropped(selector.name, len(gone), [rows[int(i)] for i in places]))
        if len(data) == 0:
            raise DataError(f"the selector '{selector.name}' dropped all {len(before):,} rows", where=job.planned.where)
    return data.remove_columns([PLACE]), dropped


PLACE = "row in order"
"""A column that lives while selectors run, so that what they dropped can be shown."""
