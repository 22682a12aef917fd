"""``do: collect``: read, normalise, filter and deduplicate text."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from typing import Any

from langadapt.artifacts import dataset
from langadapt.contracts.data import Role
from langadapt.errors import DataError
from langadapt.reports.page import SAMPLES, Dropped
from langadapt.verbs.job import Job


def run(job: Job) -> dict[str, Any]:
    documents: list[dict[str, Any]] = []
    read = empty = 0
    for reader in job.slot("corpus"):
        for document in job.ctx.log.track(reader.documents(job.ctx), f"reading {reader.name}"):
            read += 1
            if document.text.strip():  # hundreds of millions of empty lines cost time, not memory
                documents.append({"text": document.text, "origin": document.origin})
            else:
                empty += 1
    if not documents:
        raise DataError("the corpus is empty", where=job.planned.where, hint="Check the files behind its resource.")
    texts = normalized([document["text"] for document in documents], job.slot("normalizer"))
    seen: set[bytes] = set()
    rows: list[dict[str, Any]] = []
    repeated = 0
    for document, text in zip(documents, texts, strict=True):
        mark = hashlib.blake2b(text.encode(), digest_size=12).digest()
        if not text:
            empty += 1
        elif mark in seen:
            repeated += 1
        else:
            seen.add(mark)
            rows.append({**document, "text": text})
    if not rows:
        raise DataError("the corpus is empty", where=job.planned.where, hint="Check the files behind its resource.")
    job.ctx.log.info(f"{read:,} documents read, {empty:,} empty, {repeated:,} exact repeats dropped")
    data, dropped = select(job, dataset.from_rows(rows))
    again = repeated + sum(one.count for one in dropped if one.repeats)
    if again > MUCH * read:
        left = f"{len(data):,} of {read:,} documents are left"
        job.ctx.log.warning(f"{again / read:.0%} of the corpus repeated itself and was dropped: {left}")
    about = {"read": read, "empty": empty, "exact_repeats": repeated, **{f"dropped by {one.name}": one.count for one in dropped}}
    dataset.save(data, {"text": Role.TEXT}, about, job.folder)
    return {"type": "Corpus", "rows": len(data)}


MUCH = 0.5
"""Share of repeats from which a corpus is not what it seems."""
MANY = 20_000
"""Documents from which normalising is worth a process for each core."""


def normalized(texts: list[str], normalizer: Any) -> list[str]:
    """Texts through a normalizer, stripped, in order; large corpora on all cores, through ``datasets``."""
    if normalizer is None:
        return [text.strip() for text in texts]
    if len(texts) < MANY:
        return [normalizer.normalize(text).strip() for text in texts]
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    rows = Dataset.from_dict({"text": texts})
    apply = partial(_normalize, normalizer)
    done = rows.map(apply, batched=True, num_proc=os.cpu_count() or 1, keep_in_memory=True, load_from_cache_file=False)
    return list(done["text"])


def _normalize(normalizer: Any, batch: dict[str, list[str]]) -> dict[str, list[str]]:
    return {"text": [normalizer.normalize(text).strip() for text in batch["text"]]}


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
        dropped.append(Dropped(selector.name, len(gone), [rows[int(i)] for i in places], selector.drops_repeats))
        if len(data) == 0:
            raise DataError(f"the selector '{selector.name}' dropped all {len(before):,} rows", where=job.planned.where)
    return data.remove_columns([PLACE]), dropped


PLACE = "row in order"
"""A column that lives while selectors run, so that what they dropped can be shown."""
