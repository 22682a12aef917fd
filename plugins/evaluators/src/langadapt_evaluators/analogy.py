"""Whether one word is to a second as a third is to a fourth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from langadapt.contracts import Context, Evaluator, Resource, Score
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import mean_score
from langadapt_evaluators.columns import LEAST, read_columns

if TYPE_CHECKING:
    from langadapt.contracts import Embeds

BLOCK = 1024
"""Questions that are answered at once."""

EPSILON = 1e-3
"""Keeps 3CosMul's quotient finite (Levy & Goldberg 2014)."""


class Analogy(Evaluator):
    """Accuracy, ×100, of the word nearest to b − a + c being d, among all words of the test; a, b and c are no answers.

    Mikolov, Yih & Zweig 2013 (N13-1090): ``3CosAdd``, on unit vectors.  ``3CosMul``: cos(d, b) · cos(d, c) / cos(d, a), cosines moved
    to 0 … 1 (Levy & Goldberg 2014, W14-1618).  Words pass the encoder one by one, without a sentence around them: this measures
    input layers and static encoders (Gupta & Jaggi 2021, X2Static) more than what an encoder makes of a context.

    Tables have ``a, b, c, d``, and may have ``group``, the relation; groups with ten questions and more are scored by themselves too.
    """

    name: ClassVar[str] = "analogy"

    data: Resource
    task: str = ""
    method: Literal["3CosAdd", "3CosMul"] = "3CosAdd"
    samples: Annotated[int, Field(ge=100)] = 1000

    @property
    def test_data(self) -> Resource:
        return self.data

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        rows = [row for _, row in read_columns(self.data, ctx, ("a", "b", "c", "d"), ("group",))]
        if not rows:
            raise DataError("there are no questions", where=self.data.name)
        words = list(dict.fromkeys(row[name] for row in rows for name in "abcd"))
        place = {word: i for i, word in enumerate(words)}
        questions = np.array([[place[row[name]] for name in "abcd"] for row in rows])
        vectors = encoder.encode(words, normalize=True, progress=ctx.log)
        right = 100.0 * (answers(vectors, questions[:, :3], self.method) == questions[:, 3])
        groups, task = np.array([row["group"] for row in rows]), self.task or self.data.name
        found = [mean_score(task, "accuracy", right, ctx.rng(f"bootstrap {task} accuracy"), self.samples)]
        for group in sorted(set(groups.tolist()) - {""}):
            if (groups == group).sum() >= LEAST:
                rng = ctx.rng(f"bootstrap {task} {group} accuracy")
                found.append(mean_score(f"{task} {group}", "accuracy", right[groups == group], rng, self.samples))
        return found


def answers(vectors: np.ndarray, questions: np.ndarray, method: str = "3CosAdd") -> np.ndarray:
    """(n,) places of the answers among unit vectors (words, d) to questions (n, 3), places of a, b and c."""
    found = np.empty(len(questions), dtype=np.int64)
    for start in range(0, len(questions), BLOCK):
        some = questions[start : start + BLOCK]
        a, b, c = (vectors[some[:, i]] @ vectors.T for i in range(3))
        if method == "3CosAdd":
            scores = b - a + c
        else:
            scores = (b + 1) / 2 * ((c + 1) / 2) / ((a + 1) / 2 + EPSILON)
        np.put_along_axis(scores, some, -np.inf, axis=1)
        found[start : start + BLOCK] = scores.argmax(1)
    return found
