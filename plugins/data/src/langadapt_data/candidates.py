"""Lists of candidates with a teacher's scores."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from datasets import Dataset
from pydantic import Field

from langadapt.contracts import Annotator, Columns, Context, Embeds, Role, Scores
from langadapt.errors import DataError


class Candidates(Annotator):
    """For each row its positive and other rows' positives, with the teacher's scores of all of them: what ``listwise-distil`` learns.

    The others are those that are nearest to the anchor's own positive by the teacher's vectors; a scorer, which has none, gets a random
    draw.  An encoder scores by cosine, a scorer reads each pair.
    """

    name: ClassVar[str] = "candidates"

    others: Annotated[int, Field(ge=1)] = 7
    """Candidates beside the positive."""

    def reads(self) -> Columns:
        return {"anchor": Role.TEXT, "positive": Role.TEXT}

    def adds(self) -> Columns:
        return {"candidates": Role.TEXTS, "scores": Role.NUMBERS}

    def annotate(self, rows: Dataset, teacher: Embeds | Scores, ctx: Context) -> dict[str, list[Any]]:
        anchors, positives = list(rows["anchor"]), list(rows["positive"])
        pool = list(dict.fromkeys(positives))
        if len(pool) <= self.others:
            raise DataError(f"{len(pool)} distinct positives are too few to choose {self.others} others from")
        place = {text: i for i, text in enumerate(pool)}
        own = [place[text] for text in positives]
        if isinstance(teacher, Embeds):
            given = teacher.encode(pool, adapter=teacher.role("document"), normalize=True, progress=ctx.log)
            asked = teacher.encode(anchors, adapter=teacher.role("query"), normalize=True, progress=ctx.log)
            lists = self._nearest(given, own)
            scores = [(given[chosen] @ asked[i]).tolist() for i, chosen in enumerate(lists)]
        else:
            rng = ctx.rng("candidates")
            lists = [[i, *((i + 1 + rng.choice(len(pool) - 1, self.others, replace=False)) % len(pool)).tolist()] for i in own]
            pairs = [(anchor, pool[k]) for anchor, chosen in zip(anchors, lists, strict=True) for k in chosen]
            flat = teacher.score(pairs, progress=ctx.log)
            scores = flat.reshape(len(anchors), -1).tolist()
        return {"candidates": [[pool[k] for k in chosen] for chosen in lists], "scores": scores}

    def _nearest(self, vectors: np.ndarray, own: list[int]) -> list[list[int]]:
        """Each row's positive, and the others nearest to it."""
        found: list[list[int]] = []
        for start in range(0, len(own), BLOCK):
            block = own[start : start + BLOCK]
            near = np.argsort(-(vectors[block] @ vectors.T), axis=1, kind="stable")[:, : self.others + 1]
            found += [[i, *[int(k) for k in row if k != i][: self.others]] for i, row in zip(block, near, strict=True)]
        return found


BLOCK = 512
"""Rows whose cosines with all candidates are held at once."""
