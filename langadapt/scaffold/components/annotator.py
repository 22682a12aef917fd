"""Columns that an encoder adds to data, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from langadapt.contracts import Annotator, Columns, Context, Embeds, Role, Scores
from langadapt.errors import ModelError

if TYPE_CHECKING:
    from datasets import Dataset


class Example(Annotator):
    """The cosine of two texts of a row, by the teacher."""

    name: ClassVar[str] = "example"

    def reads(self) -> Columns:
        return {"sentence1": Role.TEXT, "sentence2": Role.TEXT}

    def adds(self) -> Columns:
        return {"score": Role.NUMBER}

    def annotate(self, rows: Dataset, teacher: Embeds | Scores, ctx: Context) -> dict[str, list[Any]]:
        if isinstance(teacher, Scores):
            raise ModelError(f"'{self.name}' compares vectors, and its teacher is a scorer", hint="Name an encoder.")
        one, other = (teacher.encode(list(rows[name]), normalize=True) for name in ("sentence1", "sentence2"))
        return {"score": [float(value) for value in (one * other).sum(1)]}
