"""How evenly vectors use their space."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from langadapt.contracts import Context, Evaluator, Resource, Score
from langadapt.contracts.reading import TEXTS, fetch, tables
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import interval

if TYPE_CHECKING:
    from langadapt.contracts import Embeds


class Isotropy(Evaluator):
    """Three published measures on the vectors of a corpus, with 95 % bootstrap intervals over texts.

    - ``mean cosine`` of random pairs (Ethayarajh 2019, arXiv:1909.00512): 0 is isotropic, 1 a single direction;
    - ``partition``: least over greatest value of Σ exp(c·v) over the eigenvectors c (Mu & Viswanath 2018, arXiv:1702.01417): 1 is
      isotropic;
    - ``IsoScore`` (Rudman et al. 2022, arXiv:2108.07344): 1 is isotropic, near 0 a single direction.

    Few texts make any space look less isotropic than it is: compare measures, and their intervals, at an equal number of texts only.
    """

    name: ClassVar[str] = "isotropy"
    version: ClassVar[str] = "2"

    data: Resource
    task: str = ""
    texts: Annotated[int, Field(ge=50)] = 1000
    """Texts drawn from the resource."""
    samples: Annotated[int, Field(ge=50)] = 100

    @property
    def test_data(self) -> Resource:
        return self.data

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        texts = list(dict.fromkeys(read_texts(self.data, ctx)))
        if len(texts) < 50:
            raise DataError(f"{len(texts)} distinct texts are too few to measure isotropy on", where=self.data.name)
        places = sorted(ctx.rng("isotropy texts").permutation(len(texts))[: self.texts])
        vectors = encoder.encode([texts[i] for i in places], normalize=False, progress=ctx.log).astype(np.float64)
        task = f"isotropy {self.task or self.data.name}"
        found = []
        for metric, measure in MEASURES.items():

            def on(rows: np.ndarray, measure: Callable[[np.ndarray], float] = measure) -> float:
                return measure(vectors[rows])

            value = measure(vectors)
            low, high, _ = interval(on, len(vectors), ctx.rng(f"bootstrap {task} {metric}"), self.samples, around=value)
            low, high = max(low, -1.0 if measure is mean_cosine else 0.0), min(high, 1.0)
            found.append(Score(task, metric, value, low, high, len(vectors), "0 to 1"))
        return found


def read_texts(data: Resource, ctx: Context) -> list[str]:
    """Texts of a resource of any shape: lines, the passages of a BEIR folder, the text columns of a table."""
    texts: list[str] = []
    for path in fetch(data, ctx):
        if tables.suffix(path) in (".txt", ""):
            texts += [text for _, text in tables.lines(path) if text.strip()]
        elif path.is_dir():
            texts += [str(row["text"]) for file in sorted(path.glob("corpus.jsonl*")) for _, row in tables.rows(file)]
        else:
            names = (*TEXTS, "question", "explanation")
            texts += [str(row[name]) for _, row in tables.rows(path) for name in names if row.get(name)]
    return texts


def mean_cosine(vectors: np.ndarray) -> float:
    """Mean cosine of all pairs of different rows (n, d)."""
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    total = units.sum(0)
    n = len(units)
    return float((total @ total - (units * units).sum()) / (n * (n - 1)))


def partition(vectors: np.ndarray) -> float:
    """Least over greatest partition function over the eigenvectors of VᵀV, both signs; rows scaled to a mean length of one."""
    scaled = vectors / np.linalg.norm(vectors, axis=1).mean()
    _, axes = np.linalg.eigh(scaled.T @ scaled)
    along = scaled @ axes
    sums = np.concatenate([np.exp(along).sum(0), np.exp(-along).sum(0)])
    return float(sums.min() / sums.max())


def iso_score(vectors: np.ndarray) -> float:
    """IsoScore of rows (n, d): distance of the principal components' variances from equal ones."""
    d = vectors.shape[1]
    variances = np.maximum(np.linalg.eigvalsh(np.cov(vectors.T)), 0)
    scaled = np.sqrt(d) * variances / max(float(np.linalg.norm(variances)), 1e-300)
    defect = float(np.linalg.norm(scaled - 1)) / np.sqrt(2 * (d - np.sqrt(d)))
    used = (d - defect**2 * (d - np.sqrt(d))) ** 2 / d**2
    return float((d * used - 1) / (d - 1))


MEASURES: dict[str, Callable[[np.ndarray], float]] = {"mean cosine": mean_cosine, "partition": partition, "IsoScore": iso_score}
