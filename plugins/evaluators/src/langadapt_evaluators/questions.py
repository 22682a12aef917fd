"""What evaluators of questions and passages share: the data, and what of it training left out."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from langadapt.contracts import Context, Evaluator, Resource
from langadapt.contracts.reading import fetch, retrieval


class Questions(Evaluator):
    """Questions with the passages that answer them, from a BEIR folder or a table."""

    data: Resource
    task: str = ""
    held_out: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    """Share of the passages that training left out (the pairs of this name take the same option); 0 asks all questions."""

    @property
    def test_data(self) -> Resource:
        return self.data

    def shared_resource(self) -> Resource | None:
        return self.data if self.held_out > 0 else None

    def test_rows(self, ctx: Context) -> list[tuple[str, ...]]:
        """A row for each question that is asked and each passage that answers it."""
        found, _, queries = self.asked(ctx)
        return [(found.queries[q], found.passages[passage]) for q in queries for passage in found.relevant[q]]

    def asked(self, ctx: Context) -> tuple[retrieval.Retrieval, set[str], list[str]]:
        """Everything there is, the passages that training left out, and the questions that are asked: all of whose passages are such."""
        found = retrieval.load(self.data, fetch(self.data, ctx), ctx.log)
        held = {name for name, text in found.passages.items() if retrieval.held_out(text, self.held_out)}
        return found, held, [q for q, good in found.relevant.items() if not self.held_out or held.issuperset(good)]
