"""What can be read off a sentence's vector: its length, a word in it, whether two of its words changed places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from langadapt.contracts import Context, Evaluator, Resource, Score
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import mean_score, of_runs
from langadapt_evaluators.isotropy import read_texts
from langadapt_evaluators.treebank import Syntax, labelled, sentences

if TYPE_CHECKING:
    from langadapt.contracts import Embeds

Task = Literal["length", "word-content", "bigram-shift"]

SHARES = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.625, 1.0)
"""Of the training texts, after which the online code learns anew (Voita & Titov 2020 double from a thousandth on)."""

SEARCHED = 10_000
"""Lines of running text that are searched for in training data."""

SHORTEST, LONGEST = 4, 60
"""Words of a sentence that is taken."""


@dataclass(frozen=True)
class Probe:
    """Sentences with what is to be read off each: (n,) classes, numbered."""

    texts: list[str]
    labels: np.ndarray


def enough(probe: Probe) -> bool:
    """Fifty sentences in two classes, both among those to learn from and those to score."""
    cut = len(probe.labels) * 4 // 5
    return len(probe.texts) >= 50 and len(set(probe.labels[:cut].tolist())) > 1


class Probing(Evaluator):
    """Accuracy of a logistic regression on frozen vectors, ×100, and how far it compresses the labels, for tasks made from plain text.

    Conneau et al. 2018 (arXiv:1805.01070), made from any language's running text instead of parsed English:

    - ``length``: which sixth of the texts by words (theirs: six fixed ranges);
    - ``word-content``: which of `words` words the sentence has, exactly one of them (theirs: a thousand of middle frequency);
    - ``bigram-shift``: whether two neighbouring words were exchanged, as they were in half of the sentences;

    and from a `treebank` of Universal Dependencies (CoNLL-U), of whatever language has one (theirs: Penn treebank parses): ``tree-depth``
    (words on the longest way down, in five classes), ``tense`` of the root or its auxiliaries, ``subject-number`` and ``object-number``
    of what depends on the root.  What a treebank does not say of fifty sentences in two classes is left out, with a word in the log.

    ``compression`` (its interval by Student's t over the `orders`) is the uniform code of the training labels over the online code
    (Voita & Titov 2020, arXiv:2003.12298): the labels of each block are coded by a probe of the blocks before it, a mean over `orders`
    of the texts.  An accuracy that took many examples to reach compresses little; 1 is no better than guessing.

    For scripts that write spaces between words.  The formulas were stated again in the tests; the authors' own code was not run beside it.
    """

    name: ClassVar[str] = "probing"
    version: ClassVar[str] = "2"

    data: Resource | None = None
    """Running text."""
    treebank: Resource | None = None
    task: str = ""
    tasks: Annotated[list[Task], Field(min_length=1)] = ["length", "word-content", "bigram-shift"]
    """What is asked of `data`."""
    syntax: Annotated[list[Syntax], Field(min_length=1)] = ["tree-depth", "tense", "subject-number", "object-number"]
    """What is asked of the treebank."""
    texts: Annotated[int, Field(ge=60)] = 4000
    """Sentences of a task, a fifth of them the test."""
    words: Annotated[int, Field(ge=2, le=1000)] = 30
    orders: Annotated[int, Field(ge=1)] = 3
    samples: Annotated[int, Field(ge=100)] = 1000

    @model_validator(mode="after")
    def _check_data(self) -> Self:
        if self.data is None and self.treebank is None:
            raise ValueError("neither data nor treebank is given")
        return self

    @property
    def test_data(self) -> Resource | None:
        return self.data or self.treebank

    def test_rows(self, ctx: Context) -> list[tuple[str, ...]]:
        read = read_texts(self.data, ctx) if self.data is not None else []
        trees = [text for text, _ in sentences(self.treebank, ctx)] if self.treebank is not None else []
        return [(text,) for text in dict.fromkeys([*read[:SEARCHED], *trees])]

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        return [*self._from_text(encoder, ctx), *self._from_trees(encoder, ctx)]

    def _from_text(self, encoder: Embeds, ctx: Context) -> list[Score]:
        if self.data is None:
            return []
        lines = [line for line in dict.fromkeys(read_texts(self.data, ctx)) if SHORTEST <= len(line.split()) <= LONGEST]
        found: list[Score] = []
        for name in self.tasks:
            probe = self._made(name, lines, ctx)
            if not enough(probe):
                raise DataError(f"{len(probe.texts)} sentences are too few for the probe '{name}'", where=self.data.name)
            found += self._of_probe(f"{self.task or self.data.name} {name}", probe, encoder, ctx)
        return found

    def _from_trees(self, encoder: Embeds, ctx: Context) -> list[Score]:
        if self.treebank is None:
            return []
        found: list[Score] = []
        for name in self.syntax:
            texts, labels = labelled(self.treebank, name, ctx)
            order = ctx.rng(f"probe {name}").permutation(len(texts))[: self.texts]
            probe = Probe([texts[i] for i in order], labels[order])
            if enough(probe):
                found += self._of_probe(f"{self.task or self.treebank.name} {name}", probe, encoder, ctx)
            else:
                ctx.log.warning(f"{self.treebank.name}: '{name}' is said of {len(texts)} sentences, or all in one class, and is left out")
        if not found:
            raise DataError(f"nothing can be asked of so few sentences ({', '.join(self.syntax)})", where=self.treebank.name)
        return found

    def _of_probe(self, task: str, probe: Probe, encoder: Embeds, ctx: Context) -> list[Score]:
        vectors = np.asarray(encoder.encode(probe.texts, normalize=True, progress=ctx.log), np.float64)
        return self._scores(task, vectors, probe.labels, ctx)

    def _made(self, name: Task, lines: Sequence[str], ctx: Context) -> Probe:
        rng = ctx.rng(f"probe {name}")
        shuffled = [lines[i] for i in rng.permutation(len(lines))]
        if name == "word-content":
            return word_content(shuffled, self.words, self.texts)
        makers: dict[str, Callable[[Sequence[str], np.random.Generator], Probe]] = {"length": length, "bigram-shift": bigram_shift}
        return makers[name](shuffled[: self.texts], rng)

    def _scores(self, task: str, vectors: np.ndarray, labels: np.ndarray, ctx: Context) -> list[Score]:
        cut = len(labels) * 4 // 5  # the texts are in random order already
        right = 100.0 * (_fitted(vectors[:cut], labels[:cut]).predict(vectors[cut:]) == labels[cut:])
        accuracy = mean_score(task, "accuracy", right, ctx.rng(f"bootstrap {task} accuracy"), self.samples)
        orders = [ctx.rng(f"online code {i}").permutation(cut) for i in range(self.orders)]
        ratios = np.array([compression(vectors[:cut][order], labels[:cut][order]) for order in orders])
        return [accuracy, Score(task, "compression", float(ratios.mean()), *of_runs(ratios), cut, "×")]


def length(lines: Sequence[str], rng: np.random.Generator) -> Probe:
    """Which sixth of the sentences by their words; ties go into one class."""
    counts = np.array([len(line.split()) for line in lines])
    edges = np.unique(np.quantile(counts, np.arange(1, 6) / 6))
    return Probe(list(lines), np.searchsorted(edges, counts, side="left"))


def bigram_shift(lines: Sequence[str], rng: np.random.Generator) -> Probe:
    """Two different neighbouring words exchanged in half of the sentences, by chance."""
    texts, labels = [], []
    for line in lines:
        words = line.split()
        places = [i for i in range(len(words) - 1) if words[i] != words[i + 1]]
        changed = bool(rng.random() < 0.5) and bool(places)
        if changed:
            i = places[int(rng.integers(len(places)))]
            words[i], words[i + 1] = words[i + 1], words[i]
        texts.append(" ".join(words))
        labels.append(int(changed))
    return Probe(texts, np.array(labels))


def word_content(lines: Sequence[str], words: int, texts: int) -> Probe:
    """Which of some words a sentence has; words are of middle frequency, the commonest of those in less than a fiftieth of sentences."""
    cut = [line.split() for line in lines]
    counts = Counter(word for one in cut for word in set(one) if word.isalpha() or any(letter.isalpha() for letter in word))
    common = [word for word, count in counts.most_common() if count <= max(2, len(lines) // 50)][:words]
    place = {word: i for i, word in enumerate(common)}
    found: list[tuple[str, int]] = []
    for line, one in zip(lines, cut, strict=True):
        hits = {place[word] for word in one if word in place}
        if len(hits) == 1:
            found.append((line, hits.pop()))
    return Probe([text for text, _ in found[:texts]], np.array([label for _, label in found[:texts]], dtype=np.int64))


def compression(vectors: np.ndarray, labels: np.ndarray) -> float:
    """Bits of the uniform code of labels (n,) over bits of the online code; the first block is coded uniformly in both."""
    classes = len(np.unique(labels))
    ends = sorted({max(classes, int(share * len(labels))) for share in SHARES})
    bits = ends[0] * np.log2(classes)
    for start, end in pairwise(ends):
        seen = np.unique(labels[:start])
        block, goal = vectors[start:end], labels[start:end]
        if len(seen) < 2:
            bits += (end - start) * np.log2(classes)
            continue
        said = np.full((len(goal), classes), 1e-3 / classes)  # a class that was not seen yet can still be coded
        names = {label: i for i, label in enumerate(np.unique(labels).tolist())}
        said[:, [names[label] for label in seen.tolist()]] += (1 - 1e-3) * _fitted(vectors[:start], labels[:start]).predict_proba(block)
        bits -= float(np.log2(said[np.arange(len(goal)), [names[label] for label in goal.tolist()]]).sum())
    return float(ends[-1] * np.log2(classes) / bits)


def _fitted(vectors: np.ndarray, labels: np.ndarray):  # type: ignore[no-untyped-def]  # scikit-learn has no types
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500)).fit(vectors, labels)
