"""Reading NLI, paraphrase and STS files into the standard columns, whoever needs them: training pairs, translation, scoring."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langadapt.artifacts import tables
from langadapt.artifacts.fetch import fetch
from langadapt.errors import DataError, did_you_mean
from langadapt.manifests.resource import Resource
from langadapt.registry.component import Context

NLI_COLUMNS = ("premise", "hypothesis", "label")
STS_COLUMNS = ("sentence1", "sentence2", "score")

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


def nli_rows(data: Resource, ctx: Context) -> Iterator[dict[str, Any]]:
    """Premise, hypothesis and label of an NLI or paraphrase resource; says through the log what it found.

    Raises:
        DataError: a missing column, an empty text, an unknown label, or no pairs at all.
    """
    counts = dict.fromkeys(("entailment", "neutral", "contradiction"), 0)
    paraphrases = False
    for path in fetch(data, ctx):
        for where, row in tables.rows(path):
            given = row.get(data.columns.get("label", "label"))
            label = _label(data, given, where, row)
            paraphrases |= str(given).lower() in ("p", "np", "paraphrase", "not-paraphrase")
            counts[label] += 1
            yield {"premise": _text(data, row, "premise", where), "hypothesis": _text(data, row, "hypothesis", where), "label": label}
    if not sum(counts.values()):
        raise DataError("there are no pairs", where=", ".join(str(p) for p in fetch(data, ctx)))
    ctx.log.info(", ".join(f"{count:,} {label}" for label, count in counts.items()))
    if paraphrases or data.format == "paraphrase":
        ctx.log.warning("these are paraphrase pairs, not NLI: paraphrases serve as positives, and there are no hard negatives")


def sts_rows(data: Resource, ctx: Context) -> Iterator[dict[str, Any]]:
    """Rows of an STS resource, scores scaled from the published range to [0, 1].

    Raises:
        DataError: a missing column, a score that is no number or out of the published range.
    """
    low, high = data.score_range
    for path in fetch(data, ctx):
        for where, row in tables.rows(path):
            name = data.columns.get("score", "score")
            if name not in row:
                raise DataError(
                    f"no column '{name}' (columns: {', '.join(row)})",
                    where=where,
                    hint="Map it in the language manifest: columns: {score: NAME}.",
                )
            score = tables.number(row[name], low, high, "score", where)
            yield {
                "sentence1": tables.column(row, (data.columns.get("sentence1", "sentence1"),), where),
                "sentence2": tables.column(row, (data.columns.get("sentence2", "sentence2"),), where),
                "score": (score - low) / (high - low),
            }


def _text(data: Resource, row: dict[str, Any], name: str, where: str) -> str:
    other = {"premise": "sentence1", "hypothesis": "sentence2"}[name]
    return tables.column(row, (data.columns.get(name, name), other), where)


def _label(data: Resource, given: Any, where: str, row: dict[str, Any]) -> str:
    if given is None:
        raise DataError(
            f"no column 'label' (columns: {', '.join(row)})",
            where=where,
            hint="Map it in the language manifest: columns: {label: NAME}.",
        )
    label = data.labels.get(str(given)) or LABELS.get(str(given).strip().lower())
    if label is None:
        raise DataError(
            f"unknown label '{given}'",
            where=where,
            hint=did_you_mean(str(given).lower(), [*data.labels, *LABELS])
            + " Map others with --set lang.resources.NAME.labels='{\"1\": entailment}'.",
        )
    return label
