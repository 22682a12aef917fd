"""Sentence pairs from NLI, paraphrase, STS and retrieval files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from langadapt.artifacts import retrieval, tables
from langadapt.artifacts.fetch import fetch
from langadapt.errors import DataError, did_you_mean
from langadapt.manifests.resource import Resource
from langadapt.registry.component import Component, Context

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


class Nli(Component):
    """Premise, hypothesis and label (entailment, neutral, contradiction).

    Reads NLI files (``premise, hypothesis, label``) and paraphrase files (``sentence1, sentence2, label``), whose paraphrases
    count as entailment: the log and the release say so.  Two-way "not entailed" counts as neutral.  Other label words are
    mapped by the resource's `labels`.
    """

    kind: ClassVar[str] = "pairs"
    name: ClassVar[str] = "nli"
    version: ClassVar[str] = "1"
    columns: ClassVar[tuple[str, ...]] = ("premise", "hypothesis", "label")

    data: Resource

    def pairs(self, translator: Any, ctx: Context) -> Iterator[dict[str, Any]]:
        counts = dict.fromkeys(("entailment", "neutral", "contradiction"), 0)
        paraphrases = False
        for path in fetch(self.data, ctx):
            for where, row in tables.rows(path):
                given = row.get(self.data.columns.get("label", "label"))
                label = self._label(given, where, row)
                paraphrases |= str(given).lower() in ("p", "np", "paraphrase", "not-paraphrase")
                counts[label] += 1
                yield {"premise": self._text(row, "premise", where), "hypothesis": self._text(row, "hypothesis", where), "label": label}
        if not sum(counts.values()):
            raise DataError("there are no pairs", where=", ".join(str(p) for p in fetch(self.data, ctx)))
        ctx.log.info(", ".join(f"{count:,} {label}" for label, count in counts.items()))
        if paraphrases or self.data.format == "paraphrase":
            ctx.log.warning("these are paraphrase pairs, not NLI: paraphrases serve as positives, and there are no hard negatives")

    def _text(self, row: dict[str, Any], name: str, where: str) -> str:
        other = {"premise": "sentence1", "hypothesis": "sentence2"}[name]
        return tables.column(row, (self.data.columns.get(name, name), other), where)

    def _label(self, given: Any, where: str, row: dict[str, Any]) -> str:
        if given is None:
            raise DataError(
                f"no column 'label' (columns: {', '.join(row)})",
                where=where,
                hint="Map it in the language manifest: columns: {label: NAME}.",
            )
        label = self.data.labels.get(str(given)) or LABELS.get(str(given).strip().lower())
        if label is None:
            raise DataError(
                f"unknown label '{given}'",
                where=where,
                hint=did_you_mean(str(given).lower(), [*self.data.labels, *LABELS])
                + " Map others with --set lang.resources.NAME.labels='{\"1\": entailment}'.",
            )
        return label


class Sts(Component):
    """Two sentences and a similarity score, scaled from the published range to [0, 1]."""

    kind: ClassVar[str] = "pairs"
    name: ClassVar[str] = "sts"
    columns: ClassVar[tuple[str, ...]] = ("sentence1", "sentence2", "score")

    data: Resource

    def pairs(self, translator: Any, ctx: Context) -> Iterator[dict[str, Any]]:
        return sts_rows(self.data, ctx)


class Retrieval(Component):
    """Question and passage as anchor and positive, from a BEIR folder or a table.

    `held_out` leaves that share of the passages, with all their questions, for an evaluator of the same name and share.
    """

    kind: ClassVar[str] = "pairs"
    name: ClassVar[str] = "retrieval"
    columns: ClassVar[tuple[str, ...]] = ("anchor", "positive")

    data: Resource
    held_out: Annotated[float, Field(ge=0, le=0.9)] = 0.0

    def pairs(self, translator: Any, ctx: Context) -> Iterator[dict[str, Any]]:
        found = retrieval.load(self.data, fetch(self.data, ctx))
        left = 0
        for query, passages in found.relevant.items():
            for passage in passages:
                text = found.passages[passage]
                if retrieval.held_out(text, self.held_out):
                    left += 1
                else:
                    yield {"anchor": found.queries[query], "positive": text}
        if self.held_out:
            ctx.log.info(f"{left:,} pairs held out for scoring")


def sts_rows(data: Resource, ctx: Context) -> Iterator[dict[str, Any]]:
    """Rows of an STS resource, scores in [0, 1].

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
