"""What a classifier can read from an encoder: a linear probe, nearest neighbours, or fine-tuning."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from langadapt.contracts import Batch, Columns, Context, Evaluator, Loss, Models, Objective, Resource, Role, Row, Score
from langadapt.contracts.reading import Labelled, from_rows, held_out, read_labelled, stable_hash
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import interval

if TYPE_CHECKING:
    import torch

    from langadapt.contracts import Columns, Embeds, Models, Objective, Role, Row

Measure = Callable[[np.ndarray, np.ndarray, int], float]
Method = Literal["probe", "knn", "fine-tune"]


class Classification(Evaluator):
    """Macro-F1 and accuracy, ×100, of classifiers on an encoder's vectors, with 95 % intervals.

    - ``probe``: logistic regression on frozen vectors (Conneau & Kiela 2018, arXiv:1803.05449), features scaled by the training set's
      mean and deviation;
    - ``knn``: majority of the `k` nearest training texts by cosine;
    - ``fine-tune``: a linear layer on the vector, every weight trained, `seeds` times (Koto et al. 2021 score IndoBERTweet so).

    Tables have ``text, label``, or a pair of sentences and a label (question entailment), whose features are u, v, |u − v| and u·v.
    Without a test set a fifth of the rows, chosen by their text, is one; of pairs at most a fifth, whole groups of pairs that share texts,
    so that no text of the test is learnt from.  Intervals resample test rows, and seeds where there are some.
    """

    name: ClassVar[str] = "classification"
    version: ClassVar[str] = "3"

    data: Resource
    test: Resource | None = None
    task: str = ""
    methods: Annotated[list[Method], Field(min_length=1)] = ["probe"]
    k: Annotated[int, Field(ge=1)] = 5
    limit: Annotated[int, Field(ge=20)] | None = None
    """Training rows used at most, the first ones of a fixed shuffle."""
    seeds: Annotated[int, Field(ge=1)] = 3
    """Fine-tuning runs, each with its own head and order of rows."""
    epochs: Annotated[float, Field(gt=0)] = 3.0
    batch_size: Annotated[int, Field(ge=2)] = 32
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 5e-5
    samples: Annotated[int, Field(ge=100)] = 1000

    @property
    def test_data(self) -> Resource:
        return self.test or self.data

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        train, test = self._parts(ctx)
        classes = sorted(set(train.labels))
        if len(classes) < 2:
            raise DataError(f"all rows are labelled '{classes[0]}'", where=self.data.name, hint="Classification needs two labels.")
        unknown = sorted(set(test.labels) - set(classes))
        if unknown:
            raise DataError(f"the test set has labels that training never sees: {', '.join(unknown)}", where=self.data.name)
        gold = np.array([classes.index(label) for label in test.labels])
        goal = np.array([classes.index(label) for label in train.labels])
        found: list[Score] = []
        for method in self.methods:
            if method == "fine-tune":
                guesses = np.stack([self._fine_tuned(encoder, train, goal, test, len(classes), seed, ctx) for seed in range(self.seeds)])
            else:
                ours, theirs = _features(encoder, train, ctx), _features(encoder, test, ctx)
                guess = _probe(ours, goal, theirs) if method == "probe" else _nearest(ours, goal, theirs, self.k, len(classes))
                guesses = guess[None]
            found += self._scores(method, gold, guesses, len(classes), ctx)
        return found

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

    def _scores(self, method: str, gold: np.ndarray, guesses: np.ndarray, classes: int, ctx: Context) -> list[Score]:
        task = f"{self.task or self.data.name} {method}"
        measures: dict[str, Measure] = {"macro-f1": macro_f1, "accuracy": accuracy}
        found = []
        for metric, measure in measures.items():
            rng = ctx.rng(f"bootstrap {task} {metric}")

            def mean(rows: np.ndarray, measure: Any = measure, rng: Any = rng) -> float:
                runs = rng.integers(len(guesses), size=len(guesses))
                return float(np.mean([measure(gold[rows], guesses[run][rows], classes) for run in runs]))

            low, high, drawn = interval(mean, len(gold), rng, self.samples)
            value = float(np.mean([measure(gold, guess, classes) for guess in guesses]))
            found.append(Score(task, metric, 100 * value, 100 * low, 100 * high, len(gold), resampled=100 * drawn))
        return found

    def _fine_tuned(
        self, encoder: Embeds, train: Labelled, goal: np.ndarray, test: Labelled, classes: int, seed: int, ctx: Context
    ) -> np.ndarray:
        """Predictions (n,) on the test set of a copy of the encoder, trained with one seed."""
        import torch

        from langadapt.contracts.loop import AdamW, Linear, Settings, TokenizedRows, resolve_precision, steps_per_epoch
        from langadapt.contracts.loop import train as run

        # A folder of its own each time: checkpoints of another encoder's run must not be taken for this one's.
        work = tempfile.TemporaryDirectory(dir=ctx.workdir)
        own = replace(ctx, seed=ctx.seed_for(f"fine-tune {seed}") % 2**31, workdir=Path(work.name))
        torch.manual_seed(own.seed_for("head"))
        module = encoder.trainable_copy()
        wide = len(train.texts[0])
        head = torch.nn.Linear(module.width * (4 if wide == 2 else 1), classes)
        names = ("sentence1", "sentence2") if wide == 2 else ("text",)
        data = from_rows([{**dict(zip(names, texts, strict=True)), "goal": int(one)} for texts, one in zip(train.texts, goal, strict=True)])
        roles = dict.fromkeys(names, Role.TEXT)
        length, prompt = encoder.settings.max_length, encoder.settings.prompt
        rows = TokenizedRows.of(data, encoder.tokenizer, length, roles, prompt=prompt)
        steps = max(1, round(self.epochs * steps_per_epoch(len(rows), self.batch_size)))
        settings = Settings(
            steps, self.batch_size, self.learning_rate, 0.01, steps // 10, 1.0, resolve_precision("auto"), 4096, 10**9, "last"
        )
        with work:
            run(module, head, _Classify(texts=names), rows, encoder.tokenizer, Linear(), AdamW(), settings, None, own, alone=True)
        module.eval()
        unseen = from_rows([dict(zip(names, texts, strict=True)) for texts in test.texts])
        ids = TokenizedRows.of(unseen, encoder.tokenizer, length, roles, prompt=prompt)
        with torch.inference_mode():
            vectors = [module.embed([row[name] for row in ids.take(range(len(ids)))], 8192) for name in names]
            guess: np.ndarray = head(_joined(vectors)).argmax(-1).cpu().numpy()
        return guess


class _Classify(Objective):
    """Cross-entropy of a linear layer on the vector, or on a pair's."""

    name: ClassVar[str] = "classify"
    columns: ClassVar[tuple[Columns, ...]] = ()

    texts: tuple[str, ...]

    def collate(self, rows: list[Row], tokenizer: Any, rng: np.random.Generator, head: Any = None) -> Batch:
        return Batch([row[name] for name in self.texts for row in rows], len(rows), {"goal": [row["goal"] for row in rows]})

    def loss(self, models: Models, batch: Batch, step: int) -> Loss:
        import torch
        from torch.nn.functional import cross_entropy

        vectors = models.encoder.embed(batch.sequences)
        parts = [vectors[i * batch.count : (i + 1) * batch.count] for i in range(len(self.texts))]
        logits = models.head(_joined(parts)).float()
        return Loss(cross_entropy(logits, torch.tensor(batch.extra["goal"], device=logits.device), reduction="sum"))


def _joined(vectors: list[torch.Tensor]) -> torch.Tensor:
    """(n, d), or for a pair (n, 4d): u, v, |u − v|, u·v."""
    import torch

    if len(vectors) == 1:
        return vectors[0]
    u, v = vectors
    return torch.cat([u, v, (u - v).abs(), u * v], -1)


def held_out_rows(rows: list[tuple[str, ...]], share: float) -> list[bool]:
    """(n,) which rows are the test: of single texts by the text, of pairs by connected components of shared texts.

    Components come in an order that their texts alone decide, and are taken while they fit into `share` of the rows: a component that is
    larger by itself is for learning.
    """
    if all(len(texts) == 1 for texts in rows):
        return [held_out(texts[0], share) for texts in rows]
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    places: dict[str, int] = {}
    ends = np.array([[places.setdefault(text, len(places)) for text in (texts[0], texts[-1])] for texts in rows])
    edges = coo_array((np.ones(len(rows)), (ends[:, 0], ends[:, 1])), shape=(len(places), len(places)))
    groups = connected_components(edges, directed=False)[1]
    names: dict[int, str] = {}
    for text, place in places.items():
        names[groups[place]] = min(text, names.get(groups[place], text))
    of_row = groups[ends[:, 0]]
    sizes = np.bincount(of_row, minlength=len(names))
    taken: set[int] = set()
    left = int(share * len(rows))
    for group in sorted(names, key=lambda group: stable_hash(names[group])):
        if sizes[group] <= left:
            taken.add(group)
            left -= int(sizes[group])
    return [group in taken for group in of_row.tolist()]


def macro_f1(gold: np.ndarray, guess: np.ndarray, classes: int) -> float:
    """Mean F1 of the classes that occur in `gold` or `guess`."""
    both = np.bincount(gold * classes + guess, minlength=classes * classes).reshape(classes, classes)
    right, there, said = np.diag(both), both.sum(1), both.sum(0)
    present = (there + said) > 0
    return float((2 * right[present] / (there + said)[present]).mean())


def accuracy(gold: np.ndarray, guess: np.ndarray, classes: int) -> float:
    """Share of right guesses."""
    return float((gold == guess).mean())


def _features(encoder: Embeds, rows: Labelled, ctx: Context) -> np.ndarray:
    """(n, d) of texts, (n, 4d) of pairs."""
    distinct = list(dict.fromkeys(text for texts in rows.texts for text in texts))
    place = {text: i for i, text in enumerate(distinct)}
    vectors = encoder.encode(distinct, normalize=True, progress=ctx.log)
    sides = [vectors[[place[texts[i]] for texts in rows.texts]] for i in range(len(rows.texts[0]))]
    if len(sides) == 1:
        return sides[0]
    u, v = sides
    return np.concatenate([u, v, np.abs(u - v), u * v], 1)


def _probe(train: np.ndarray, goal: np.ndarray, test: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    guess: np.ndarray = model.fit(train.astype(np.float64), goal).predict(test.astype(np.float64))
    return guess


def _nearest(train: np.ndarray, goal: np.ndarray, test: np.ndarray, k: int, classes: int) -> np.ndarray:
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
