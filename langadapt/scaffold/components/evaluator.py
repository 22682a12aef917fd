"""How good an encoder is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from langadapt.contracts import Context, Evaluator, Resource, Score
from langadapt.contracts.reading import sts_rows
from langadapt.errors import DataError

if TYPE_CHECKING:
    import numpy as np


class Example(Evaluator):
    """Accuracy of telling pairs that people find alike from others (×100), with a bootstrap interval over pairs."""

    name: ClassVar[str] = "example"

    data: Resource
    samples: Annotated[int, Field(ge=100)] = 1000

    @property
    def test_data(self) -> Resource:
        return self.data

    def evaluate(self, encoder: Any, ctx: Context) -> list[Score]:
        import numpy as np

        rows = list(sts_rows(self.data, ctx))
        if len(rows) < 10:
            raise DataError(f"{self.data.name}: {len(rows)} pairs are too few")
        one, other = (encoder.encode([str(row[name]) for row in rows], normalize=True) for name in ("sentence1", "sentence2"))
        gold = np.array([float(row["score"]) for row in rows])
        right = self._right((one * other).sum(1), gold)
        rng = ctx.rng(self.name)
        resampled = np.array([right[rng.integers(0, len(right), len(right))].mean() for _ in range(self.samples)])
        low, high = np.percentile(resampled, [2.5, 97.5])
        value = float(right.mean())
        bounds = min(float(low), value), max(float(high), value)
        return [Score(self.data.name, "accuracy", value, *bounds, len(rows), resampled=resampled, items=right)]

    def _right(self, cosines: np.ndarray, gold: np.ndarray) -> np.ndarray:
        """(n,) 100 where a pair is on the same side of the median by cosine as by people."""
        import numpy as np

        found: np.ndarray = 100.0 * ((cosines > np.median(cosines)) == (gold > np.median(gold)))
        return found
