"""Whether texts of one label lie together: clusters of vectors against labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from langadapt.contracts import Context, Evaluator, Resource, Score
from langadapt.contracts.reading import read_labelled
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import interval

if TYPE_CHECKING:
    from langadapt.contracts import Embeds

Algorithm = Literal["k-means", "agglomerative", "hdbscan"]


class Clustering(Evaluator):
    """V-measure, ×100, of clusters of an encoder's vectors against the texts' labels (Rosenberg & Hirschberg 2007, D07-1043), with 95 %
    intervals over texts.

    - ``k-means`` and ``agglomerative`` (Ward) are told how many labels there are;
    - ``hdbscan`` (Campello et al. 2013) finds the number itself; what it calls noise counts as one cluster.

    With `splits`, the mean over random parts of the texts, as in MTEB (Muennighoff et al. 2023, arXiv:2210.07316) and in the German
    benchmark of Wehrli, Arnrich & Irrgang 2023 (arXiv:2401.02709), which reduces vectors before clustering too (`reduce`).  Vectors are
    scaled to length one.
    """

    name: ClassVar[str] = "clustering"

    data: Resource
    task: str = ""
    algorithms: Annotated[list[Algorithm], Field(min_length=1)] = ["k-means"]
    reduce: Annotated[int, Field(ge=2)] | None = None
    """Principal directions that are kept before clustering; None keeps the vectors as they are."""
    splits: Annotated[int, Field(ge=1)] = 1
    """Random parts of `size` texts, clustered one by one; 1 takes all texts, `size` at most."""
    size: Annotated[int, Field(ge=10)] = 5000
    """Texts of a part: agglomerative clustering holds size² distances (200 MB of 5,000)."""
    min_cluster_size: Annotated[int, Field(ge=2)] = 5
    """Of hdbscan."""
    samples: Annotated[int, Field(ge=100)] = 1000

    @property
    def test_data(self) -> Resource:
        return self.data

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        rows = read_labelled(self.data, ctx)
        if len(rows.texts[0]) > 1:
            raise DataError("clustering takes single texts, and these are pairs", where=self.data.name)
        names = sorted(set(rows.labels))
        if len(names) < 2:
            raise DataError(f"all rows are labelled '{names[0]}': every clustering is right", where=self.data.name)
        parts = self._parts(len(rows.labels), ctx)
        used = np.unique(np.concatenate(parts))
        place = {int(row): i for i, row in enumerate(used)}
        vectors = encoder.encode([rows.texts[row][0] for row in used], progress=ctx.log, normalize=True)
        gold = np.array([names.index(rows.labels[row]) for row in used])
        here = [np.array([place[int(row)] for row in part]) for part in parts]
        return [self._score(algorithm, vectors, gold, here, ctx) for algorithm in self.algorithms]

    def _parts(self, n: int, ctx: Context) -> list[np.ndarray]:
        if self.splits == 1 and n <= self.size:
            return [np.arange(n)]
        rng = ctx.rng("clustering parts")
        return [np.sort(rng.permutation(n)[: self.size]) for _ in range(self.splits)]

    def _score(self, algorithm: Algorithm, vectors: np.ndarray, gold: np.ndarray, parts: list[np.ndarray], ctx: Context) -> Score:
        found = [self._clusters(algorithm, vectors[part], len(set(gold[part].tolist())), ctx) for part in parts]
        task = f"{self.task or self.data.name} {algorithm}" + (f" {self.reduce}d" if self.reduce else "")
        value = float(np.mean([v_measure(gold[part], clusters) for part, clusters in zip(parts, found, strict=True)]))
        rng = ctx.rng(f"bootstrap {task}")

        def mean(_: np.ndarray) -> float:  # parts may share texts, so each is resampled by itself
            drawn = [rng.integers(len(part), size=len(part)) for part in parts]
            return float(np.mean([v_measure(gold[p][rows], c[rows]) for p, c, rows in zip(parts, found, drawn, strict=True)]))

        low, high, drawn = interval(mean, 1, ctx.rng(f"bootstrap {task} items"), self.samples, around=value)
        n = len(np.unique(np.concatenate(parts)))
        return Score(task, "v-measure", 100 * value, 100 * max(0.0, low), 100 * min(1.0, high), n, resampled=100 * drawn)

    def _clusters(self, algorithm: Algorithm, vectors: np.ndarray, k: int, ctx: Context) -> np.ndarray:
        """(n,) the number of each vector's cluster."""
        from sklearn.cluster import HDBSCAN, AgglomerativeClustering, KMeans
        from sklearn.decomposition import PCA

        seed = ctx.seed_for("clustering") % 2**31
        if self.reduce and self.reduce < min(vectors.shape):
            vectors = PCA(self.reduce, random_state=seed).fit_transform(vectors)
        methods: dict[str, Any] = {
            "k-means": lambda: KMeans(k, n_init=10, random_state=seed),
            "agglomerative": lambda: AgglomerativeClustering(k),
            "hdbscan": lambda: HDBSCAN(min_cluster_size=self.min_cluster_size, copy=True),
        }
        clusters = methods[algorithm]().fit_predict(vectors.astype(np.float64))
        from_zero: np.ndarray = clusters - clusters.min()
        return from_zero


def v_measure(gold: np.ndarray, clusters: np.ndarray) -> float:
    """Harmonic mean of homogeneity and completeness; both (n,) small integers from 0."""
    width = int(clusters.max()) + 1
    both = np.bincount(gold * width + clusters, minlength=(int(gold.max()) + 1) * width).reshape(-1, width) / len(gold)
    labels, groups, joint = (_entropy(one) for one in (both.sum(1), both.sum(0), both.ravel()))
    shared = labels + groups - joint
    homogeneity = shared / labels if labels > 0 else 1.0
    completeness = shared / groups if groups > 0 else 1.0
    both_of = homogeneity + completeness
    return 2 * homogeneity * completeness / both_of if both_of > 0 else 0.0


def _entropy(shares: np.ndarray) -> float:
    present = shares[shares > 0]
    return float(-(present * np.log(present)).sum())
