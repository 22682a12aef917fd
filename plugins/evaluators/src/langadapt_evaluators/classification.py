"""What a classifier can read from an encoder: a linear probe, nearest neighbours, or fine-tuning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from langadapt.contracts import Context, Evaluator, Resource, Score, Use
from langadapt.contracts.reading import Labelled, read_labelled
from langadapt.errors import DataError
from langadapt_evaluators import multi_label
from langadapt_evaluators.bootstrap import interval
from langadapt_evaluators.groups import held_out_rows
from langadapt_evaluators.isotropy import read_texts
from langadapt_evaluators.text_vectors import PARTS, features, in_the_plane

if TYPE_CHECKING:
    from langadapt.contracts import Embeds

Measure = Callable[[np.ndarray, np.ndarray, int], float]
Method = Literal["probe", "knn", "fine-tune"]

SHOWN = 300
"""Test rows that a picture shows."""


class Classification(Evaluator):
    """Macro-F1 and accuracy, ×100, of classifiers on an encoder's vectors, with 95 % intervals.

    - ``probe``: logistic regression on frozen vectors (Conneau & Kiela 2018, arXiv:1803.05449), features scaled by the training set's
      mean and deviation;
    - ``knn``: majority of the `k` nearest training texts by cosine;
    - ``fine-tune``: a linear layer on the vector, every weight trained, `seeds` times (Koto et al. 2021 score IndoBERTweet so), by the
      rules for few rows of Zhang et al. 2021 (arXiv:2006.05987) and Mosbach et al. 2021 (arXiv:2006.04884): Adam with its bias correction,
      a tenth of the steps to warm up, a fall to zero, and more than three epochs where rows are few (`least_steps`, `most_epochs`).

    `vectors` are the encoder's, its ``input`` layer's mean (what no context has touched), ``characters`` (hashed runs of letters),
    ``fasttext`` (learnt here from the training texts and `corpus`), or several joined (``encoder+fasttext``): columns beside the
    encoder's own.  ``multi_label: "|"`` reads several labels of a row, each a classifier of its own (``probe`` alone): micro- and macro-F1,
    and the share of rows with exactly the right ones.  ``picture: true`` lays the test's vectors into the plane for the report.

    Tables have ``text, label``, or a pair of sentences and a label (question entailment), whose features are u, v, |u − v| and u·v.
    Without a test set a fifth of the rows, chosen by their text, is one; of pairs at most a fifth, whole groups of pairs that share texts,
    so that no text of the test is learnt from.  Intervals resample test rows, and seeds where there are some.
    """

    name: ClassVar[str] = "classification"
    version: ClassVar[str] = "5"

    data: Resource
    test: Resource | None = None
    task: str = ""
    methods: Annotated[list[Method], Field(min_length=1)] = ["probe"]
    vectors: Annotated[list[str], Field(min_length=1)] = ["encoder"]
    """What ``probe`` and ``knn`` read, one after the other."""
    corpus: Resource | None = None
    """Running text that fastText learns from too."""
    multi_label: str = ""
    """What separates the labels of a row; without it a row has one."""
    picture: bool = False
    k: Annotated[int, Field(ge=1)] = 5
    limit: Annotated[int, Field(ge=20)] | None = None
    """Training rows used at most, the first ones of a fixed shuffle."""
    seeds: Annotated[int, Field(ge=1)] = 3
    """Fine-tuning runs, each with its own head and order of rows."""
    epochs: Annotated[float, Field(gt=0)] = 3.0
    least_steps: Annotated[int, Field(ge=0)] = 400
    """Of fewer rows a run learns longer: for so many steps (what Zhang et al. train 1,000 rows for); 0 to train `epochs` alone."""
    most_epochs: Annotated[float, Field(gt=0)] = 20.0
    """Where a run stops before `least_steps` (what Mosbach et al. train small sets for)."""
    batch_size: Annotated[int, Field(ge=2)] = 32
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 5e-5
    adaptation: Annotated[Any, Use("adaptation")] = None
    """How weights take part in fine-tuning; without it all of them do.  ``reinit-top`` is the few-sample paper's other rule."""
    samples: Annotated[int, Field(ge=100)] = 1000

    @property
    def test_data(self) -> Resource:
        return self.test or self.data

    def without(self, rows: frozenset[int]) -> Classification | None:
        """Of a test of its own; one that is split off `data` would be split anew."""
        if self.test is None:
            return None
        return self.model_copy(update={"test": self.test.without(rows), "task": f"{self.task or self.data.name}, unseen rows"})

    def test_rows(self, ctx: Context) -> list[tuple[str, ...]]:
        return self._parts(ctx)[1].texts

    @model_validator(mode="after")
    def _check_vectors(self) -> Self:
        for part in (part for name in self.vectors for part in name.split("+")):
            if part not in PARTS:
                raise ValueError(f"there are no vectors '{part}' (there are: {', '.join(PARTS)}, joined by +)")
        if self.multi_label and self.methods != ["probe"]:
            raise ValueError("several labels of a row are read by 'probe' alone")
        return self

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        train, test = self._parts(ctx)
        corpus = read_texts(self.corpus, ctx) if self.corpus is not None and any("fasttext" in name for name in self.vectors) else []
        found: list[Score] = []
        for name in self.vectors if set(self.methods) & {"probe", "knn"} else []:
            x, unseen = features(name, encoder, (train.texts, test.texts), corpus, ctx)
            about = "" if self.vectors == ["encoder"] else f" {name}"
            if self.multi_label:
                found += multi_label.scores(
                    f"{self._task}{about}", x, train.labels, unseen, test.labels, self.multi_label, self.samples, ctx
                )
            else:
                found += self._frozen(about, x, unseen, train, test, ctx)
        if "fine-tune" in self.methods:
            classes, goal, gold = self._numbered(train, test)
            found += self._scores("fine-tune", gold, self._fine_tuned(encoder, train, goal, test, ctx), classes, ctx)
        return found

    @property
    def _task(self) -> str:
        return self.task or self.data.name

    def _numbered(self, train: Labelled, test: Labelled) -> tuple[list[str], np.ndarray, np.ndarray]:
        """The classes, and the number of each row's to learn from and to score.

        Raises:
            DataError: one class alone, or a label that training never sees.
        """
        classes = sorted(set(train.labels))
        if len(classes) < 2:
            raise DataError(f"all rows are labelled '{classes[0]}'", where=self.data.name, hint="Classification needs two labels.")
        if unknown := sorted(set(test.labels) - set(classes)):
            raise DataError(f"the test set has labels that training never sees: {', '.join(unknown)}", where=self.data.name)
        number = {label: i for i, label in enumerate(classes)}
        goal, gold = (np.array([number[label] for label in rows.labels]) for rows in (train, test))
        return classes, goal, gold

    def _frozen(self, about: str, x: np.ndarray, unseen: np.ndarray, train: Labelled, test: Labelled, ctx: Context) -> list[Score]:
        classes, goal, gold = self._numbered(train, test)
        found: list[Score] = []
        for method in (one for one in self.methods if one != "fine-tune"):
            guess = probe(x, goal, unseen) if method == "probe" else nearest(x, goal, unseen, self.k, len(classes))
            found += self._scores(f"{method}{about}", gold, guess[None], classes, ctx)
        if self.picture and len(unseen) > 3:
            some = ctx.rng(f"picture {self._task}{about}").permutation(len(unseen))[:SHOWN]
            points = in_the_plane(unseen[some], ctx.seed_for("picture") % 2**31)
            drawing = {"x": points[:, 0].round(2).tolist(), "y": points[:, 1].round(2).tolist(), "labels": [classes[i] for i in gold[some]]}
            found[1] = replace(found[1], drawing={"classes": drawing})
        return found

    def _fine_tuned(self, encoder: Embeds, train: Labelled, goal: np.ndarray, test: Labelled, ctx: Context) -> np.ndarray:
        """Guesses (seeds, n) on the test set."""
        from langadapt_evaluators.fine_tuning import Rules, fine_tuned

        rules = Rules(self.epochs, self.least_steps, self.most_epochs, self.batch_size, self.learning_rate, self.adaptation)
        return np.stack([fine_tuned(encoder, train, goal, test.texts, rules, seed, ctx) for seed in range(self.seeds)])

    def _parts(self, ctx: Context) -> tuple[Labelled, Labelled]:
        rows = read_labelled(self.data, ctx)
        if self.test is not None:
            train, test = rows, read_labelled(self.test, ctx)
        else:
            out = held_out_rows(rows.texts, 0.2)
            train, test = _only(rows, [not one for one in out]), _only(rows, out)
        if self.limit and len(train.labels) > self.limit:
            chosen = set(ctx.rng("classification rows").permutation(len(train.labels))[: self.limit].tolist())
            train = _only(train, [i in chosen for i in range(len(train.labels))])
        if len(train.labels) < 10 or len(test.labels) < 10:
            raise DataError(f"{len(train.labels)} rows to learn from and {len(test.labels)} to score are too few", where=self.data.name)
        return train, test

    def _scores(self, method: str, gold: np.ndarray, guesses: np.ndarray, names: list[str], ctx: Context) -> list[Score]:
        task = f"{self._task} {method}"
        measures: dict[str, Measure] = {"macro-f1": macro_f1, "accuracy": accuracy}
        classes = len(names)
        more = {
            "macro-f1": {"drawing": _confusion(gold, guesses, names)},
            "accuracy": {"items": 100 * (guesses == gold).mean(0)},
        }
        found = []
        for metric, measure in measures.items():
            rng = ctx.rng(f"bootstrap {task} {metric}")

            def mean(rows: np.ndarray, measure: Any = measure, rng: Any = rng) -> float:
                runs = rng.integers(len(guesses), size=len(guesses))
                return float(np.mean([measure(gold[rows], guesses[run][rows], classes) for run in runs]))

            low, high, drawn = interval(mean, len(gold), rng, self.samples)
            value = float(np.mean([measure(gold, guess, classes) for guess in guesses]))
            found.append(Score(task, metric, 100 * value, 100 * low, 100 * high, len(gold), resampled=100 * drawn, **more[metric]))
        return found


def macro_f1(gold: np.ndarray, guess: np.ndarray, classes: int) -> float:
    """Mean F1 of the classes that occur in `gold` or `guess`."""
    both = np.bincount(gold * classes + guess, minlength=classes * classes).reshape(classes, classes)
    right, there, said = np.diag(both), both.sum(1), both.sum(0)
    present = (there + said) > 0
    return float((2 * right[present] / (there + said)[present]).mean())


def accuracy(gold: np.ndarray, guess: np.ndarray, classes: int) -> float:
    """Share of right guesses."""
    return float((gold == guess).mean())


def _confusion(gold: np.ndarray, guesses: np.ndarray, names: list[str]) -> dict[str, Any]:
    """How often each class was taken for each other, a mean over runs."""
    pairs = np.bincount((gold * len(names) + guesses).ravel(), minlength=len(names) ** 2).reshape(len(names), -1) / len(guesses)
    return {"confusion": {"labels": names, "counts": np.round(pairs, 2).tolist()}}


def probe(train: np.ndarray, goal: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Classes (m,) by logistic regression on scaled features; its loss has one minimum, so that no seed changes it."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    guess: np.ndarray = model.fit(train.astype(np.float64), goal).predict(test.astype(np.float64))
    return guess


def nearest(train: np.ndarray, goal: np.ndarray, test: np.ndarray, k: int, classes: int) -> np.ndarray:
    """Majority of the k nearest by cosine; the nearest decides a tie."""
    scale = [np.maximum(np.linalg.norm(one, axis=1, keepdims=True), 1e-12) for one in (train, test)]
    cosines = (test / scale[1]) @ (train / scale[0]).T
    k = min(k, len(train))
    near = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    votes = np.zeros((len(test), classes))
    for place in range(k):
        votes[np.arange(len(test)), goal[near[:, place]]] += 1 + (1e-3 if place == 0 else 0)
    chosen: np.ndarray = votes.argmax(1)
    return chosen


def _only(rows: Labelled, wanted: list[bool]) -> Labelled:
    texts = [one for one, yes in zip(rows.texts, wanted, strict=True) if yes]
    return Labelled(texts, [one for one, yes in zip(rows.labels, wanted, strict=True) if yes])
