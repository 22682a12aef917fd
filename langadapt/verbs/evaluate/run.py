"""``do: evaluate``: score encoders side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langadapt.artifacts import scores
from langadapt.contracts.component import Context
from langadapt.contracts.results import Evaluator
from langadapt.errors import DataError, LangadaptError, SourceError, StageFailed, StoreError
from langadapt.files import read_json, stable_hash, write_json
from langadapt.inference.encoder import Encoder
from langadapt.inference.remembering import remember
from langadapt.verbs.evaluate.contamination import SEEN, seen_in_training, sentence
from langadapt.verbs.evaluate.examples import EXAMPLES, some_texts, view
from langadapt.verbs.job import Job

UNSCORED = "unscored.json"
"""A sentence for each test that an encoder has no score on; absent where there is none."""


def unscored_in(folder: Path) -> list[str]:
    """What a folder of scores has no score on."""
    return list(read_json(folder / UNSCORED)) if (folder / UNSCORED).is_file() else []


def run(job: Job) -> dict[str, Any]:
    found: scores.Scores = {}
    texts = some_texts(job.slot("evaluators"), job.ctx)
    seen, told = seen_in_training(job)
    evaluators = [*job.slot("evaluators"), *(one for i, rows in seen.items() if (one := job.slot("evaluators")[i].without(rows)))]
    views = {}
    failures: list[Failure] = []
    for name, folder in zip(job.planned.inputs["encoders"], job.inputs["encoders"], strict=True):
        for line in filter(None, (sentence(entry, name) for entry in told.get(name, []))):
            job.ctx.log.warning(line)
        encoder = job.teacher(folder, any(evaluator.needs_mlm_head for evaluator in job.slot("evaluators")))
        if isinstance(encoder, Encoder):
            remember(encoder, job.ctx.cache)
        found[name] = _scored(encoder, name, evaluators, failures, job.ctx)
        if len(texts) > 2 and isinstance(encoder, Encoder) and encoder.gives == "dense" and (shown := view(encoder, texts, job.ctx)):
            views[name] = shown
    if not any(found.values()):
        if failures:
            raise failures[0].error
        raise DataError("no evaluator gave a score", where=job.planned.where, hint="The warnings above say why.")
    scores.add_differences(found)
    scores.add_groups(found)
    scores.save(found, job.folder)
    write_json(job.folder / SEEN, told)
    if failures:
        write_json(job.folder / UNSCORED, list(dict.fromkeys(map(str, failures))))
    if views:
        write_json(job.folder / EXAMPLES, {"texts": texts, "encoders": views})
    return {"type": "Scores"}


@dataclass(frozen=True)
class Failure:
    """A test that an encoder has no score on."""

    encoder: str
    evaluator: Evaluator
    error: LangadaptError

    def __str__(self) -> str:
        data = self.evaluator.test_data
        of = f" on {data.name}" if data is not None else ""
        where = (self.error.where or "").rpartition("/")[2]  # a card goes where this machine's folders say nothing
        return f"{self.encoder} has no score by {self.evaluator.name}{of}: {f'{where}: ' if where else ''}{self.error.what}"


def _scored(encoder: Any, name: str, evaluators: Sequence[Evaluator], failures: list[Failure], ctx: Context) -> list[dict[str, Any]]:
    """One encoder on every test: what a test cannot be scored for is said, and the others go on.

    Raises:
        SourceError, StoreError, StageFailed: data cannot be had now, or the machine is at fault; the next run makes the stage again.
    """
    found = []
    for evaluator in evaluators:
        ctx.log.info(f"{name}: {evaluator.name}")
        try:
            rows, problems = records_of(encoder, evaluator, ctx)
        except (SourceError, StoreError, StageFailed):
            raise
        except LangadaptError as error:
            if left_out(evaluator):  # too few rows are unseen: nothing is wrong with the test
                rows, problems = [], [f"no score on the rows that training did not see: {error.what}"]
            else:
                failures.append(Failure(name, evaluator, error))
                rows, problems = [], [f"no score by {evaluator.name}: {error}"]
        found += rows
        for problem in problems:
            ctx.log.warning(f"{name}: {problem}")
    return found


def records_of(encoder: Any, evaluator: Evaluator, ctx: Context) -> tuple[list[dict[str, Any]], list[str]]:
    """Scores of one evaluator as plain data, with a digest of what was measured and how, and what is no score."""
    data = stable_hash([evaluator.identity(), left_out(evaluator)])[:16]
    return scores.records(evaluator.evaluate(encoder, ctx), made_of(evaluator), data, ctx.seed)


def left_out(evaluator: Evaluator) -> list[int]:
    """Rows of the test that are not scored on, in order."""
    return sorted(evaluator.test_data.leave_out) if evaluator.test_data is not None else []


def made_of(evaluator: Evaluator) -> str:
    """How the texts of an evaluator's test came to be, where its resource says so."""
    return evaluator.test_data.made if evaluator.test_data is not None else ""
