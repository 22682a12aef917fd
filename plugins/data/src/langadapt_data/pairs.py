"""Sentence pairs from NLI, paraphrase, STS and retrieval files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from langadapt.contracts import Columns, Context, PairReader, Resource, Role
from langadapt.contracts.reading import NLI_COLUMNS, STS_COLUMNS, fetch, nli_rows, retrieval, sts_rows


class Nli(PairReader):
    """Premise, hypothesis and label (entailment, neutral, contradiction).

    Reads NLI files (``premise, hypothesis, label``) and paraphrase files (``sentence1, sentence2, label``), whose paraphrases
    count as entailment: the log and the release say so.  Two-way "not entailed" counts as neutral.  Other label words are
    mapped by the resource's `labels`.
    """

    name: ClassVar[str] = "nli"
    version: ClassVar[str] = "1"
    columns: ClassVar[Columns] = NLI_COLUMNS
    in_translation: ClassVar[str] = "translated-nli"

    data: Resource

    def pairs(self, translator: Any, ctx: Context) -> Iterator[dict[str, Any]]:
        return nli_rows(self.data, ctx)


class Sts(PairReader):
    """Two sentences and a similarity score, scaled from the published range to [0, 1]."""

    name: ClassVar[str] = "sts"
    columns: ClassVar[Columns] = STS_COLUMNS
    in_translation: ClassVar[str] = "translated-sts"

    data: Resource

    def pairs(self, translator: Any, ctx: Context) -> Iterator[dict[str, Any]]:
        return sts_rows(self.data, ctx)


class Retrieval(PairReader):
    """Question and passage as anchor and positive, from a BEIR folder or a table.

    `held_out` leaves that share of the passages, with all their questions, for an evaluator of the same name and share.
    """

    name: ClassVar[str] = "retrieval"
    columns: ClassVar[Columns] = {"anchor": Role.TEXT, "positive": Role.TEXT}

    data: Resource
    held_out: Annotated[float, Field(ge=0, le=0.9)] = 0.0

    def shared_resource(self) -> Resource | None:
        return self.data if self.held_out > 0 else None

    def pairs(self, translator: Any, ctx: Context) -> Iterator[dict[str, Any]]:
        found = retrieval.load(self.data, fetch(self.data, ctx), ctx.log)
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
