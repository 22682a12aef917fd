"""An evaluator around another one, which says what data there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from langadapt.contracts import Context, Evaluator, Resource, Use


class Around(Evaluator):
    """What is asked of the data is asked of the evaluator inside."""

    evaluator: Annotated[Any, Use("evaluator")]
    """What is measured: ``{use: sts, data: …}``."""

    @property
    def test_data(self) -> Resource | None:
        found: Resource | None = self.evaluator.test_data
        return found

    def test_rows(self, ctx: Context) -> Sequence[tuple[str, ...]] | None:
        found: Sequence[tuple[str, ...]] | None = self.evaluator.test_rows(ctx)
        return found

    def shared_resource(self) -> Resource | None:
        found: Resource | None = self.evaluator.shared_resource()
        return found
