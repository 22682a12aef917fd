"""``do: pair``: read sentence pairs into a standard column set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from langadapt.artifacts import dataset
from langadapt.contracts.component import Log
from langadapt.contracts.data import Normalizer, Role
from langadapt.errors import DataError
from langadapt.reports.page import PAGE, Dropped, data_page
from langadapt.verbs.collect.run import select
from langadapt.verbs.job import Job

T = TypeVar("T")


@dataclass
class Remarks:
    """A log that passes everything on and keeps the warnings: what a reader had to say of its data belongs into the card."""

    log: Log
    warnings: list[str] = field(default_factory=list)

    def info(self, message: str) -> None:
        self.log.info(message)

    def warning(self, message: str) -> None:
        self.warnings.append(message)
        self.log.warning(message)

    def track(self, items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
        return self.log.track(items, what, total)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        self.log.metrics(step, values)


def run(job: Job) -> dict[str, Any]:
    reader, normalizer = job.slot("source"), job.slot("normalizer")
    rows: list[dict[str, Any]] = []
    heard = Remarks(job.ctx.log)
    for row in job.ctx.log.track(reader.pairs(job.slot("translator"), replace(job.ctx, log=heard)), f"reading {reader.name}"):
        if normalizer:
            row = {k: _normalized(v, reader.columns.get(k), normalizer) for k, v in row.items()}
        rows.append(row)
    if len(rows) < 2:
        count = "no pairs" if not rows else "one pair only"
        raise DataError(f"{reader.name}: {count}", where=job.planned.where, hint="Training needs at least two.")
    _tell_repeats(rows, heard)
    data, dropped = select(job, dataset.from_rows(rows))
    note = next((resource.note for resource in job.planned.resources() if resource.note), "")
    remarks = [f"{job.planned.name}: {remark}" for remark in (*heard.warnings, *_translated(job, len(rows), len(data), dropped))]
    told = {"note": note, "remarks": remarks, "read": len(rows), **{f"dropped by {one.name}": one.count for one in dropped}}
    dataset.save(data, reader.columns, told, job.folder)
    _draw(job, len(rows), data, dropped)
    job.ctx.log.info(f"{len(data):,} pairs ({', '.join(data.column_names)})")
    return {"type": "Pairs", "rows": len(data)}


def _normalized(value: Any, role: Role | None, normalizer: Normalizer) -> Any:
    """A cell with its texts in one spelling."""
    if role is Role.TEXT and value:
        return normalizer.normalize(value)
    return [normalizer.normalize(text) for text in value] if role is Role.TEXTS and value else value


def _tell_repeats(rows: list[dict[str, Any]], log: Remarks) -> None:
    """Pairs that stand several times weigh several times; often a file was joined to itself."""
    distinct = len({repr(tuple(row.values())) for row in rows})
    if len(rows) - distinct > REPEATS * len(rows):
        log.warning(f"{len(rows) - distinct:,} of {len(rows):,} pairs are exact repeats of others")


REPEATS = 0.05
"""Share of repeats that is worth a word."""


def _draw(job: Job, read: int, data: Any, dropped: list[Dropped]) -> None:
    """``data.html`` of a translated data set, for a look before training."""
    engine = job.planned.identity.get("engine")
    if engine is None:
        return
    source = job.slot("source")
    facts = {
        "pairs read": f"{read:,}",
        "translated": f"{source.source_language} → {source.target_language}, {engine['name']}",
        "licence of the data": engine["data"],
        "licence of the engine": engine["licence"] + ("" if engine["binding"] else " (covers the engine, not what it translates)"),
    }
    page = data_page(f"{job.planned.name}: {source.data.origin or source.data.name}", facts, data, dropped, job.ctx.rng("data page"))
    (job.folder / PAGE).write_text(page, encoding="utf-8")


def _translated(job: Job, read: int, kept: int, dropped: list[Dropped]) -> list[str]:
    """One remark on a translated data set: from where, by what, and how much the checks took out."""
    engine = job.planned.identity.get("engine")
    if engine is None:
        return []
    source = job.slot("source")
    shares = ", ".join(f"{one.name} {one.count:,}" for one in dropped if one.count)
    took = f"; checks dropped {shares}" if shares else ""
    return [f"{kept:,} of {read:,} pairs, translated by machine from '{source.source_language}' with {engine['name']}{took}"]
