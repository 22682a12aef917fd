"""length-bias: whether texts look alike because they are equally long."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from langadapt.contracts import Context, Evaluator, Resource, Score
from langadapt.contracts.reading import sts_rows
from langadapt.errors import DataError


class LengthBias(Evaluator):
    """Correlation of cosines with how alike the two lengths are (×100, nearer 0 is better); a bootstrap interval over pairs."""

    name: ClassVar[str] = "length-bias"

    data: Resource
    samples: int = 200

    @property
    def test_data(self) -> Resource:
        return self.data

    def evaluate(self, encoder: Any, ctx: Context) -> list[Score]:
        rows = list(sts_rows(self.data, ctx))
        if len(rows) < 10:
            raise DataError(f"{self.data.name}: {len(rows)} pairs are too few")
        left, right = ([str(row[name]) for row in rows] for name in ("sentence1", "sentence2"))
        one, other = encoder.encode(left, normalize=True), encoder.encode(right, normalize=True)
        cosines = (one * other).sum(1)
        lengths = np.array([min(len(a), len(b)) / max(len(a), len(b), 1) for a, b in zip(left, right, strict=True)])
        rng = ctx.rng("length-bias")
        draws = [rng.integers(0, len(rows), len(rows)) for _ in range(self.samples)]
        value = _correlation(cosines, lengths)
        spread = [_correlation(cosines[draw], lengths[draw]) for draw in draws]
        low, high = np.percentile([*spread, value], [2.5, 97.5])
        bounds = min(float(low), value), max(float(high), value)
        return [Score(self.data.name, "length correlation", value, *bounds, len(rows), higher_is_better=False)]


def _correlation(cosines: np.ndarray, lengths: np.ndarray) -> float:
    if cosines.std() == 0 or lengths.std() == 0:
        return 0.0
    return 100 * float(np.corrcoef(cosines, lengths)[0, 1])
