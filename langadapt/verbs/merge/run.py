"""``do: merge``: one encoder of several."""

from __future__ import annotations

from typing import Any

from langadapt.artifacts import encoder as encoders
from langadapt.artifacts.encoder import LoadedEncoder
from langadapt.contracts.training import Merger
from langadapt.errors import ModelError
from langadapt.verbs.job import Job


def run(job: Job) -> dict[str, Any]:
    names = job.planned.inputs["encoders"]
    loaded = [job.whole(folder) for folder in job.inputs["encoders"]]
    first = loaded[0]
    for name, other in zip(names[1:], loaded[1:], strict=True):
        _check_alike(names[0], first, name, other, job)
    merger: Merger = job.slot("merger")
    weights = [dict(one.model.state_dict()) for one in loaded]
    first.model.load_state_dict(merger.merge(weights))
    encoders.save(first, job.folder)
    job.ctx.log.info(f"{merger.name} of {', '.join(names)}")
    return {"type": "Encoder"}


def _check_alike(name: str, first: LoadedEncoder, other_name: str, other: LoadedEncoder, job: Job) -> None:
    """Encoders become one when every weight has its counterpart and every token its row.

    Raises:
        ModelError: they differ in a way that no mean of weights can bridge.
    """
    ours, theirs = first.model.state_dict(), other.model.state_dict()
    wrong = next((key for key in {**ours, **theirs} if key not in ours or key not in theirs or ours[key].shape != theirs[key].shape), None)
    if wrong is not None:
        what = f"'{wrong}' is not the same in both"
    elif first.tokenizer.get_vocab() != other.tokenizer.get_vocab():
        what = "their vocabularies differ"
    elif first.settings != other.settings:
        what = "they make vectors in different ways (pooler, prompt, length, transforms)"
    elif first.transforms or first.pooling is not None or first.output is not None or first.embedding is not None:
        what = "what makes vectors of their states was fitted or trained, and has no mean"
    else:
        return
    raise ModelError(
        f"'{name}' and '{other_name}' cannot become one encoder: {what}",
        where=job.planned.where,
        hint="Merge encoders that were trained from one base.",
    )
