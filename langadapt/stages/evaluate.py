"""``do: evaluate``: score encoders side by side."""

from __future__ import annotations

import dataclasses
from typing import Any

from langadapt.artifacts import scores
from langadapt.stages.job import Job


def run(job: Job) -> dict[str, Any]:
    found: dict[str, list[dict[str, Any]]] = {}
    names = job.planned.inputs["encoders"]
    for name, folder in zip(names, job.inputs["encoders"], strict=True):
        encoder = job.inference(folder)
        found[name] = []
        for evaluator in job.slot("evaluators"):
            job.ctx.log.info(f"{name}: {evaluator.name}")
            found[name] += [dataclasses.asdict(score) for score in evaluator.evaluate(encoder, job.ctx)]
    scores.save(found, job.folder)
    for line in scores.table(found):
        job.ctx.log.info(line)
    return {"type": "Scores"}
