"""``do: evaluate``: score encoders side by side."""

from __future__ import annotations

from typing import Any

from langadapt.artifacts import scores
from langadapt.contracts.results import Evaluator
from langadapt.errors import DataError
from langadapt.verbs.job import Job


def run(job: Job) -> dict[str, Any]:
    found: scores.Scores = {}
    names = job.planned.inputs["encoders"]
    for name, folder in zip(names, job.inputs["encoders"], strict=True):
        encoder = job.teacher(folder, any(evaluator.needs_mlm_head for evaluator in job.slot("evaluators")))
        found[name] = []
        for evaluator in job.slot("evaluators"):
            job.ctx.log.info(f"{name}: {evaluator.name}")
            rows, problems = scores.records(evaluator.evaluate(encoder, job.ctx), made_of(evaluator))
            found[name] += rows
            for problem in problems:
                job.ctx.log.warning(f"{name}: {problem}")
    if not any(found.values()):
        raise DataError("no evaluator gave a score", where=job.planned.where, hint="The warnings above say why.")
    scores.add_differences(found)
    scores.save(found, job.folder)
    return {"type": "Scores"}


def made_of(evaluator: Evaluator) -> str:
    """How the texts of an evaluator's test came to be, where its resource says so."""
    return evaluator.test_data.made if evaluator.test_data is not None else ""
