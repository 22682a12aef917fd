"""``do: evaluate``: score encoders side by side."""

from __future__ import annotations

from typing import Any

from langadapt.artifacts import scores
from langadapt.contracts.results import Evaluator
from langadapt.errors import DataError
from langadapt.files import stable_hash, write_json
from langadapt.inference.encoder import Encoder
from langadapt.inference.remembering import remember
from langadapt.verbs.evaluate.examples import EXAMPLES, short, some_texts, view
from langadapt.verbs.job import Job


def run(job: Job) -> dict[str, Any]:
    found: scores.Scores = {}
    names = job.planned.inputs["encoders"]
    texts = [short(text) for text in some_texts(job.slot("evaluators"), job.ctx)]
    views = {}
    for name, folder in zip(names, job.inputs["encoders"], strict=True):
        encoder = job.teacher(folder, any(evaluator.needs_mlm_head for evaluator in job.slot("evaluators")))
        if isinstance(encoder, Encoder):
            remember(encoder)
        found[name] = []
        for evaluator in job.slot("evaluators"):
            job.ctx.log.info(f"{name}: {evaluator.name}")
            made, data = made_of(evaluator), stable_hash(evaluator.identity())[:16]
            rows, problems = scores.records(evaluator.evaluate(encoder, job.ctx), made, data, job.ctx.seed)
            found[name] += rows
            for problem in problems:
                job.ctx.log.warning(f"{name}: {problem}")
        if len(texts) > 2 and isinstance(encoder, Encoder) and encoder.gives == "dense":
            views[name] = view(encoder, texts, job.ctx)
    if not any(found.values()):
        raise DataError("no evaluator gave a score", where=job.planned.where, hint="The warnings above say why.")
    scores.add_differences(found)
    scores.add_groups(found)
    scores.save(found, job.folder)
    if views:
        write_json(job.folder / EXAMPLES, {"texts": texts, "encoders": views})
    return {"type": "Scores"}


def made_of(evaluator: Evaluator) -> str:
    """How the texts of an evaluator's test came to be, where its resource says so."""
    return evaluator.test_data.made if evaluator.test_data is not None else ""
