"""``do: annotate``: columns that an encoder or a scorer computes once."""

from __future__ import annotations

from typing import Any

from langadapt.artifacts import dataset
from langadapt.contracts.annotation import Annotator
from langadapt.errors import DataError
from langadapt.verbs.job import Job


def run(job: Job) -> dict[str, Any]:
    table = dataset.load(job.need("data"))
    rows, teacher = table.rows, job.teacher(job.need("teacher"))
    annotators: list[Annotator] = job.slot("annotators")
    for annotator in annotators:
        for name, values in annotator.annotate(rows, teacher, job.ctx).items():
            if len(values) != len(rows):
                raise DataError(f"'{annotator.name}' gave {len(values):,} values of '{name}' for {len(rows):,} rows")
            rows = rows.add_column(name, values)
        job.ctx.log.info(f"{annotator.name}: {', '.join(annotator.adds())}")
    about = {key: value for key, value in table.about.items() if key not in ("rows", "columns", "roles")}
    dataset.save(rows, job.planned.columns, about, job.folder)
    return {"type": "Pairs", "rows": len(rows)}
