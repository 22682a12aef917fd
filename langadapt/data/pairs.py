"""Reading NLI, paraphrase and STS files into the standard columns, whoever needs them: training pairs, translation, scoring."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langadapt.contracts.component import Context, Log
from langadapt.contracts.data import Columns, Role
from langadapt.data import tables
from langadapt.data.fetch import fetch
from langadapt.data.resource_rows import ResourceRows
from langadapt.errors import DataError, did_you_mean
from langadapt.manifests.resource import NLI_LABELS, Resource

NLI_COLUMNS: Columns = {"premise": Role.TEXT, "hypothesis": Role.TEXT, "label": Role.LABEL}
STS_COLUMNS: Columns = {"sentence1": Role.TEXT, "sentence2": Role.TEXT, "score": Role.NUMBER}

LABELS = {
    "entailment": "entailment",
    "entailed": "entailment",
    "neutral": "neutral",
    "contradiction": "contradiction",
    "not-entailed": "neutral",
    "not_entailment": "neutral",
    "not-entailment": "neutral",
    "p": "entailment",
    "paraphrase": "entailment",
    "np": "neutral",
    "not-paraphrase": "neutral",
}
"""Published label words in lower case → ours.  "Not entailed" may be neutral or contradicted, so it counts as neutral."""

UNLABELLED = ("-", "-1", "", "none", "null")
"""What stands where annotators found no common label (SNLI's ``-``, -1 in the Hub's copies)."""


def nli_rows(data: Resource, ctx: Context) -> Iterator[dict[str, Any]]:
    """Premise, hypothesis and label of an NLI or paraphrase resource; says through the log what it found.

    Rows without a label (``-``, ``-1``, null) are left out and counted.

    Raises:
        DataError: a missing column, an empty text, an unknown label, or no pairs at all.
    """
    counts = dict.fromkeys(NLI_LABELS, 0)
    paraphrases = False
    reader = ResourceRows(data)
    paths = fetch(data, ctx)
    for path in paths:
        for where, row in reader.read(path, tuple(NLI_COLUMNS)):
            label = _label(data, row["label"], where)
            if label is None:
                reader.dropped["unlabelled"] += 1
                continue
            texts = reader.texts(row, ("premise", "hypothesis"), where)
            if texts is None:
                continue
            paraphrases |= str(row["label"]).lower() in ("p", "np", "paraphrase", "not-paraphrase")
            counts[label] += 1
            yield {"premise": texts[0], "hypothesis": texts[1], "label": label}
    reader.say(ctx.log)
    if not sum(counts.values()):
        raise DataError("there are no pairs", where=", ".join(str(p) for p in paths))
    ctx.log.info(", ".join(f"{count:,} {label}" for label, count in counts.items()))
    if paraphrases or data.format == "paraphrase":
        ctx.log.warning("these are paraphrase pairs, not NLI: paraphrases serve as positives, and there are no hard negatives")
    elif counts["entailment"] and not counts["contradiction"]:
        ctx.log.warning(f"{data.name}: no pair is a contradiction, so there are no hard negatives")


def sts_rows(data: Resource, ctx: Context, paths: list[Path] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of an STS resource (or of some of its files), scores scaled from the published range to [0, 1].

    Raises:
        DataError: a missing column, a score that is no number or out of the published range, or no pairs at all.
    """
    low, high = data.score_range
    reader, given = ResourceRows(data), []
    hint = f"Correct the row, or state the file's own range: {data.option('score_range', '[LOW, HIGH]')}."
    paths = fetch(data, ctx) if paths is None else paths
    for path in paths:
        for where, row in reader.read(path, tuple(STS_COLUMNS)):
            texts = reader.texts(row, ("sentence1", "sentence2"), where)
            if texts is None:
                continue
            if row["score"] is None or str(row["score"]).strip() == "":
                reader.incomplete("column 'score' is empty", where)
                continue
            given.append(tables.number(row["score"], low, high, "score", where, hint))
            yield {"sentence1": texts[0], "sentence2": texts[1], "score": (given[-1] - low) / (high - low)}
    reader.say(ctx.log)
    if not given:
        raise DataError("there are no pairs", where=", ".join(str(p) for p in paths))
    check_range(data, max(given), len(given), ctx.log)


def check_range(data: Resource, highest: float, count: int, log: Log) -> None:
    """Warn where all scores lie at the bottom of the stated range: they are then of another one."""
    low, high = data.score_range
    if count >= MANY and highest - low <= (high - low) / 4:
        log.warning(
            f"{data.name}: the highest of {count:,} scores is {highest:g}, and the range is {low:g} to {high:g}; all pairs would count as "
            f"unlike. If the scores are of another range, say so: {data.option('score_range', f'[{low:g}, {max(1, round(highest)):g}]')}"
        )


MANY = 20
"""Scores from which it is no accident that all are low."""


def _label(data: Resource, given: Any, where: str) -> str | None:
    """Our label of a file's; None for a row without one."""
    word = "" if given is None else str(given).strip()
    if word in data.labels:
        return data.labels[word] if data.labels[word] != "drop" else None
    if word.lower() in UNLABELLED:
        return None
    label = LABELS.get(word.lower())
    if label is None:
        raise DataError(
            f"unknown label '{word[:80]}'",
            where=where,
            hint=f"{did_you_mean(word.lower(), [*data.labels, *LABELS])} Say what it means: "
            + data.option("labels", f'{{"{word[:40]}": {" | ".join(NLI_LABELS)} | drop}}'),
        )
    return label
