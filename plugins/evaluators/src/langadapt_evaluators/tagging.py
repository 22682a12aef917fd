"""Tagging words: named entities, parts of speech, keyphrases, borrowings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from langadapt.contracts import Context, Evaluator, Resource, Score
from langadapt.contracts.reading import Sentence, fetch, held_out, read_tagged
from langadapt.errors import DataError
from langadapt_evaluators import tag_heads
from langadapt_evaluators.bootstrap import interval
from langadapt_evaluators.columns import read_columns
from langadapt_evaluators.isotropy import read_texts
from langadapt_evaluators.word_vectors import PARTS, Vectors, vectors_of

if TYPE_CHECKING:
    from langadapt.contracts import Embeds

OUTSIDE = "O"

Method = Literal["probe", "crf", "fine-tune", "fine-tune-crf"]

HEADS = ("probe", "crf")
"""Methods that read vectors which do not change."""


class Tagging(Evaluator):
    """Entity F1 (exact spans, micro) or, for tags without an outside, accuracy; ×100 with 95 % intervals over sentences.

    - ``probe``: logistic regression on each of the `vectors` (Tjong Kim Sang & De Meulder 2003 for the measure); it has one optimum, which
      no seed changes;
    - ``crf``: a conditional random field over a linear layer on them, `seeds` times (pytorch-crf);
    - ``fine-tune`` and ``fine-tune-crf``: every weight of the encoder trained with such a layer on its states, `seeds` times (Devlin et al.
      2019); words of a `lexicon` may be read between markers of their type (Lex-BERT, first form: Zhu & Cheung 2021, arXiv:2101.00396,
      whose markers are new tokens; here they are written out, and no code of theirs was found to compare with).

    `vectors` are ``states`` (of each word's first piece), ``input`` (the encoder's input layer, the mean over a word's pieces),
    ``characters`` (hashed runs of letters), ``fasttext`` (learnt here from the training sentences and `corpus`), or several joined:
    ``states+characters``.  Rows without the encoder's part show what it adds.

    Files have ``word<tab>tag`` lines and an empty line between sentences; spans are read from B-/I- tags, or from runs of equal tags.
    Without a test set a fifth of the sentences, chosen by their text, is one.  Words behind the encoder's maximum length count as
    outside, which the log says.  No prompt and no normalizer is applied: words go in as they stand.
    """

    name: ClassVar[str] = "tagging"
    version: ClassVar[str] = "2"

    data: Resource
    test: Resource | None = None
    task: str = ""
    methods: Annotated[list[Method], Field(min_length=1)] = ["probe"]
    vectors: Annotated[list[str], Field(min_length=1)] = ["states"]
    """What ``probe`` and ``crf`` read, one after the other."""
    corpus: Resource | None = None
    """Running text that fastText learns from too."""
    lexicon: Resource | None = None
    """A table ``word, type``, for fine-tuning."""
    limit: Annotated[int, Field(ge=10)] = 1000
    """Sentences to learn from, and at most so many to score."""
    seeds: Annotated[int, Field(ge=1)] = 3
    epochs: Annotated[float, Field(gt=0)] = 5.0
    """Of fine-tuning."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 5e-5
    samples: Annotated[int, Field(ge=100)] = 1000

    @field_validator("vectors")
    @classmethod
    def _check_vectors(cls, value: list[str]) -> list[str]:
        for part in (part for name in value for part in name.split("+")):
            if part not in PARTS:
                raise ValueError(f"there are no vectors '{part}' (there are: {', '.join(PARTS)}, joined by +)")
        return value

    @property
    def test_data(self) -> Resource:
        return self.test or self.data

    def test_rows(self, ctx: Context) -> list[tuple[str, ...]]:
        return [(" ".join(word for word, _ in sentence),) for sentence in self._parts(ctx)[1]]

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        train, test = self._parts(ctx)
        tags = sorted({tag for sentence in train for _, tag in sentence})
        if len(tags) < 2:
            raise DataError(f"all words are tagged '{tags[0]}'", where=self.data.name)
        frozen = [method for method in self.methods if method in HEADS]
        corpus = read_texts(self.corpus, ctx) if self.corpus is not None and frozen else []
        sides = {name: vectors_of(name, encoder, train, test, corpus, ctx) for name in (self.vectors if frozen else [])}
        plain = self.methods == ["probe"] and self.vectors == ["states"]
        found = []
        for method in self.methods:
            for vectors in sides if method in HEADS else [""]:
                if method in HEADS:
                    x, unseen = sides[vectors]
                    guesses = self._by_vectors(method, x, unseen, train, tags, ctx)
                else:
                    guesses = self._fine_tuned(method, encoder, train, test, tags, ctx)
                about = "" if plain else f" {method} {vectors}".rstrip()
                found += self._scores(f"{self.task or self.data.name}{about}", test, tags, guesses, ctx)
        return found

    def _by_vectors(
        self, method: Method, x: Vectors, unseen: Vectors, train: list[Sentence], tags: list[str], ctx: Context
    ) -> list[list[list[int]]]:
        """Of each run the tags' numbers of the test's words, up to the first that is cut off."""
        number = {tag: i for i, tag in enumerate(tags)}
        goal = [[number[tag] for _, tag in sentence[: len(one)]] for sentence, one in zip(train, x, strict=True)]
        if method == "probe":
            return [tag_heads.linear(x, goal, unseen)]
        seeds = [ctx.seed_for(f"field {seed}") % 2**31 for seed in range(self.seeds)]
        return [tag_heads.crf(x, goal, unseen, len(tags), seed) for seed in seeds]

    def _fine_tuned(
        self, method: Method, encoder: Embeds, train: list[Sentence], test: list[Sentence], tags: list[str], ctx: Context
    ) -> list[list[list[int]]]:
        """As :meth:`_by_vectors`."""
        from langadapt_evaluators.tag_tuning import Rules, fine_tuned

        lexicon = {row["word"]: row["type"] for _, row in read_columns(self.lexicon, ctx, ("word", "type"))} if self.lexicon else {}
        rules = Rules(self.epochs, self.batch_size, self.learning_rate, method == "fine-tune-crf", lexicon)
        return [fine_tuned(encoder, train, tags, test, rules, seed, ctx) for seed in range(self.seeds)]

    def _parts(self, ctx: Context) -> tuple[list[Sentence], list[Sentence]]:
        sentences = [s for path in fetch(self.data, ctx) for s in read_tagged(path, self.data)]
        if self.test is not None:
            train, test = sentences, [s for path in fetch(self.test, ctx) for s in read_tagged(path, self.test)]
        else:
            out = [held_out(" ".join(word for word, _ in s), 0.2) for s in sentences]
            train = [s for s, yes in zip(sentences, out, strict=True) if not yes]
            test = [s for s, yes in zip(sentences, out, strict=True) if yes]
        if len(train) < 10 or len(test) < 10:
            raise DataError(f"{len(train)} sentences to learn from and {len(test)} to score are too few", where=self.data.name)
        order = ctx.rng("tagging sentences")
        chosen = [train[i] for i in sorted(order.permutation(len(train))[: self.limit])]
        return chosen, [test[i] for i in sorted(order.permutation(len(test))[: self.limit])]

    def _scores(self, task: str, test: list[Sentence], tags: list[str], guesses: Sequence[list[list[int]]], ctx: Context) -> list[Score]:
        gold = [[tag for _, tag in sentence] for sentence in test]
        default = OUTSIDE if OUTSIDE in tags else tags[0]
        cut = sum(len(sentence) - len(found) for sentence, found in zip(gold, guesses[0], strict=True))
        if cut:
            ctx.log.warning(f"{cut:,} words stand behind the maximum length and count as {default}")
        runs = []
        for guess in guesses:
            said = [[tags[i] for i in one] + [default] * (len(all_) - len(one)) for all_, one in zip(gold, guess, strict=True)]
            runs.append(counts(gold, said, OUTSIDE in tags))
        n, scores = len(gold), []
        for metric in runs[0]:
            rng = ctx.rng(f"bootstrap {task} {metric}")

            def mean(rows: np.ndarray, metric: str = metric, rng: np.random.Generator = rng) -> float:
                chosen = rng.integers(len(runs), size=len(runs)) if len(runs) > 1 else [0]
                return float(np.mean([ratio(*(part[rows] for part in runs[run][metric])) for run in chosen]))

            low, high, drawn = interval(mean, n, rng, self.samples)
            value = float(np.mean([ratio(*run[metric]) for run in runs]))
            things = int(runs[0][metric][1].sum())
            scores.append(Score(task, metric, 100 * value, 100 * low, 100 * high, things, resampled=100 * drawn))
        return scores


Counts = tuple[np.ndarray, np.ndarray, np.ndarray]
"""(n,) of each sentence what is right, what is there, and what was said."""


def counts(gold: list[list[str]], said: list[list[str]], entities: bool) -> dict[str, Counts]:
    """Metric → counts, the first the one that is looked at first."""
    words = np.array([len(tags) for tags in gold])
    right = np.array([sum(a == b for a, b in zip(g, s, strict=True)) for g, s in zip(gold, said, strict=True)])
    found: dict[str, Counts] = {"accuracy": (right, words, words)}
    if entities:
        there, made = [spans(tags) for tags in gold], [spans(tags) for tags in said]
        both = np.array([len(a & b) for a, b in zip(there, made, strict=True)])
        found = {"entity f1": (both, np.array([len(a) for a in there]), np.array([len(b) for b in made])), **found}
    return found


def ratio(hits: np.ndarray, have: np.ndarray, made: np.ndarray) -> float:
    """F1 of what was found, 0 where nothing is there and nothing was said."""
    return float(2 * hits.sum() / max(have.sum() + made.sum(), 1))


def spans(tags: list[str]) -> set[tuple[int, int, str]]:
    """(first word, last word + 1, type) of every entity; a run of equal plain tags is one."""
    found: set[tuple[int, int, str]] = set()
    start, kind = 0, ""
    for i, tag in enumerate([*tags, OUTSIDE]):
        mark, dash, rest = tag.partition("-")
        now = rest if dash and mark in ("B", "I") else ("" if tag == OUTSIDE else tag)
        if kind and (now != kind or (dash and mark == "B")):
            found.add((start, i, kind))
            kind = ""
        if now and not kind:
            start, kind = i, now
    return found
