"""Whether people's features of a word can be read off its vector."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from langadapt.contracts import Context, Evaluator, Resource, Score
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import interval, mean_score
from langadapt_evaluators.columns import read_columns

if TYPE_CHECKING:
    from langadapt.contracts import Embeds

FEWEST, LEAST = 20, 5
"""Words from which features are predicted at all, and words of a part at the least."""


class SemanticFeatures(Evaluator):
    """How well features that people gave words (has legs, is dangerous 4.2) are predicted for words that were not learnt from.

    - ``knn``: the mean of the features of the `k` nearest words by cosine, weighted by it;
    - ``pls``: partial least squares regression on `components` directions (Făgărășan, Vecchi & Clark 2015, W15-0107).

    Words are predicted in `folds` parts, each from the others.  ``feature correlation``: Spearman's, between what was predicted and what
    people said, over the words of a part, a mean over parts and over the features that vary, ×100; its interval resamples words.
    ``features recovered``: of the m features that a word has, the share among the m that are predicted highest, a mean over words, ×100;
    measured where features are absent from most words.  Rosenfeld & Erk 2022 (doi 10.1017/S1351324921000267) compare such methods; their
    data and measures are their own, and nobody's code was run beside this.

    Tables have ``word, feature, value``; a pair that is missing is zero.
    """

    name: ClassVar[str] = "semantic-features"

    data: Resource
    task: str = ""
    methods: Annotated[list[Literal["knn", "pls"]], Field(min_length=1)] = ["knn", "pls"]
    k: Annotated[int, Field(ge=1)] = 10
    components: Annotated[int, Field(ge=1)] = 30
    folds: Annotated[int, Field(ge=2)] = 5
    samples: Annotated[int, Field(ge=100)] = 200

    @property
    def test_data(self) -> Resource:
        return self.data

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        words, features = self._read(ctx)
        vectors = np.asarray(encoder.encode(words, normalize=True, progress=ctx.log), np.float64)
        folds = max(2, min(self.folds, len(words) // LEAST))
        fold = ctx.rng("folds of words").permutation(len(words)) % folds
        usual = np.stack([features[fold != part].mean(0) for part in range(folds)])[fold]
        found = []
        for method in self.methods:
            said = np.empty_like(features)
            for part in range(folds):
                train, test = fold != part, fold == part
                if method == "knn":
                    said[test] = neighbours(vectors[train], features[train], vectors[test], self.k)
                else:
                    said[test] = least_squares(vectors[train], features[train], vectors[test], self.components)
            found += self._scores(f"{self.task or self.data.name} {method}", features, said, usual, fold, ctx)
        return found

    def _read(self, ctx: Context) -> tuple[list[str], np.ndarray]:
        """Words, and what each has of each feature: (words, features).

        Raises:
            DataError: a value is no number, a pair stands twice, or there is too little to learn from.
        """
        values: dict[tuple[str, str], float] = {}
        for where, row in read_columns(self.data, ctx, ("word", "feature", "value")):
            try:
                value = float(row["value"])
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                raise DataError(f"the value '{row['value']}' is no number", where=where)
            pair = (row["word"], row["feature"])
            if pair in values:
                raise DataError(f"'{pair[0]}' has '{pair[1]}' twice", where=where)
            values[pair] = value
        words, names = (list(dict.fromkeys(pair[side] for pair in values)) for side in (0, 1))
        places = [{name: i for i, name in enumerate(one)} for one in (words, names)]
        table = np.zeros((len(words), len(names)))
        for (word, name), value in values.items():
            table[places[0][word], places[1][name]] = value
        table = table[:, table.std(0) > 0]
        if len(words) < FEWEST or not table.shape[1]:
            raise DataError(f"{len(words)} words with {table.shape[1]} features that vary are too few", where=self.data.name)
        return words, table

    def _scores(self, task: str, gold: np.ndarray, said: np.ndarray, usual: np.ndarray, fold: np.ndarray, ctx: Context) -> list[Score]:
        n = len(gold)
        rng = ctx.rng(f"bootstrap {task} feature correlation")

        def correlation(rows: np.ndarray) -> float:
            # Part by part: the mean of the others is low where a part has much, and would be a correlation of its own.
            parts = [rows[fold[rows] == part] for part in np.unique(fold)]
            return 100 * float(sum(len(part) * feature_correlation(gold[part], said[part]) for part in parts if len(part))) / len(rows)

        value = correlation(np.arange(n))
        low, high, drawn = interval(correlation, n, rng, self.samples, value)
        found = [Score(task, "feature correlation", value, low, high, n, resampled=drawn)]
        if (gold == 0).mean() > 0.5 and (gold >= 0).all():
            items = 100 * recovered(gold, said, usual)
            rng = ctx.rng(f"bootstrap {task} features recovered")
            found.append(mean_score(task, "features recovered", items, rng, self.samples))
        return found


def neighbours(train: np.ndarray, features: np.ndarray, test: np.ndarray, k: int) -> np.ndarray:
    """Features (m, f) of unit vectors `test` (m, d): the mean of the k nearest, weighted by cosines that are above zero."""
    cosines = test @ train.T
    k = min(k, len(train))
    near = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    weights = np.maximum(np.take_along_axis(cosines, near, axis=1), 1e-9)
    found: np.ndarray = (weights[:, :, None] * features[near]).sum(1) / weights.sum(1, keepdims=True)
    return found


def least_squares(train: np.ndarray, features: np.ndarray, test: np.ndarray, components: int) -> np.ndarray:
    """Features (m, f) by partial least squares regression on vectors (n, d)."""
    from sklearn.cross_decomposition import PLSRegression

    varies = features.std(0) > 0
    found = np.tile(features.mean(0), (len(test), 1))
    most = min(components, int(np.linalg.matrix_rank(train - train.mean(0), tol=1e-6)))
    if most and varies.any():  # else all words have one vector, or all the same features
        model = PLSRegression(n_components=most).fit(train, features[:, varies])
        found[:, varies] = model.predict(test).reshape(len(test), -1)
    return found


def feature_correlation(gold: np.ndarray, said: np.ndarray) -> float:
    """Mean Spearman correlation over the columns that vary in `gold`; a prediction that does not vary has none, zero."""
    from scipy.stats import rankdata

    columns = gold.std(0) > 0
    a, b = (rankdata(one[:, columns], axis=0) for one in (gold, said))
    a, b = a - a.mean(0), b - b.mean(0)
    scale = np.sqrt((a * a).sum(0) * (b * b).sum(0))
    return float(np.divide((a * b).sum(0), scale, out=np.zeros_like(scale), where=scale > 0).mean()) if columns.any() else 0.0


def recovered(gold: np.ndarray, said: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """(words,) of each word's features, the share among as many that are predicted highest, of equal ones the more usual first."""
    order = np.lexsort((-usual, -said), axis=1)
    found = np.empty(len(gold))
    for i, row in enumerate(gold):
        has = np.flatnonzero(row)
        found[i] = np.isin(order[i, : len(has)], has).mean() if len(has) else 0.0
    return found
