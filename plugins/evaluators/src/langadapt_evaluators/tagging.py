"""Tagging tokens with a linear layer on frozen states: named entities, parts of speech."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from langadapt.contracts import Context, Evaluator, Resource, Score
from langadapt.contracts.reading import Sentence, fetch, held_out, read_tagged
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import interval

if TYPE_CHECKING:
    from langadapt.contracts import Embeds

OUTSIDE = "O"


class Tagging(Evaluator):
    """Entity F1 (exact spans, micro) or, for tags without an outside, accuracy; ×100 with 95 % intervals over sentences.

    Logistic regression on the state of each word's first piece, the encoder frozen (Tjong Kim Sang & De Meulder 2003 for the measure).
    Files have ``word<tab>tag`` lines and an empty line between sentences; spans are read from B-/I- tags, or from runs of equal tags.
    Without a test set a fifth of the sentences, chosen by their text, is one.  Words behind the encoder's maximum length count as
    outside, which the log says.  No prompt and no normalizer is applied: words go in as they stand.
    """

    name: ClassVar[str] = "tagging"
    version: ClassVar[str] = "1"

    data: Resource
    test: Resource | None = None
    task: str = ""
    limit: Annotated[int, Field(ge=10)] = 1000
    """Sentences to learn from, and at most so many to score."""
    samples: Annotated[int, Field(ge=100)] = 1000

    @property
    def test_data(self) -> Resource:
        return self.test or self.data

    def test_rows(self, ctx: Context) -> list[tuple[str, ...]]:
        return [(" ".join(word for word, _ in sentence),) for sentence in self._parts(ctx)[1]]

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        train, test = self._parts(ctx)
        tags = sorted({tag for sentence in train for _, tag in sentence})
        x, y = _states(encoder, train, ctx)
        guess = self._tagged(x, y, _states(encoder, test, ctx)[0], tags)
        gold = [[tag for _, tag in sentence] for sentence in test]
        default = OUTSIDE if OUTSIDE in tags else tags[0]
        said, cut = [], 0
        for sentence, found in zip(test, guess, strict=True):
            cut += len(sentence) - len(found)
            said.append(found + [default] * (len(sentence) - len(found)))
        if cut:
            ctx.log.warning(f"{cut:,} words stand behind the maximum length and count as {default}")
        return self._scores(gold, said, OUTSIDE in tags, ctx)

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

    def _tagged(self, x: list[np.ndarray], y: list[list[str]], test: list[np.ndarray], tags: list[str]) -> list[list[str]]:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        goal = [tag for sentence in y for tag in sentence]
        if len(set(goal)) < 2:
            raise DataError(f"all words are tagged '{goal[0]}'", where=self.data.name)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=200, tol=1e-3))
        model.fit(np.concatenate(x), np.array(goal))
        flat = iter(model.predict(np.concatenate(test)).tolist())
        return [[str(next(flat)) for _ in range(len(sentence))] for sentence in test]

    def _scores(self, gold: list[list[str]], said: list[list[str]], entities: bool, ctx: Context) -> list[Score]:
        task = self.task or self.data.name
        words = np.array([len(tags) for tags in gold])
        right = np.array([sum(a == b for a, b in zip(g, s, strict=True)) for g, s in zip(gold, said, strict=True)])
        measures = {"accuracy": (right, words, words)}
        if entities:
            there, found = [spans(tags) for tags in gold], [spans(tags) for tags in said]
            both = np.array([len(a & b) for a, b in zip(there, found, strict=True)])
            measures = {"entity f1": (both, np.array([len(a) for a in there]), np.array([len(b) for b in found])), **measures}
        scores = []
        for metric, (hits, have, made) in measures.items():

            def ratio(rows: np.ndarray, hits: np.ndarray = hits, have: np.ndarray = have, made: np.ndarray = made) -> float:
                return float(2 * hits[rows].sum() / max(have[rows].sum() + made[rows].sum(), 1))

            low, high, drawn = interval(ratio, len(gold), ctx.rng(f"bootstrap {task} {metric}"), self.samples)
            n = int(have.sum())
            scores.append(Score(task, metric, 100 * ratio(np.arange(len(gold))), 100 * low, 100 * high, n, resampled=100 * drawn))
        return scores


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


def _states(encoder: Embeds, sentences: list[Sentence], ctx: Context) -> tuple[list[np.ndarray], list[list[str]]]:
    """For each sentence the states of its words' first pieces (w, d), and their tags; words that were cut off are left out."""
    words = [[word for word, _ in sentence] for sentence in sentences]
    encoded = encoder.tokenizer(words, is_split_into_words=True, truncation=True, max_length=encoder.settings.max_length)
    states = encoder.token_states(encoded["input_ids"], progress=ctx.log)
    vectors, tags = [], []
    for i, sentence in enumerate(sentences):
        first: dict[int, int] = {}
        for place, word in enumerate(encoded.word_ids(i)):
            if word is not None:
                first.setdefault(word, place)
        kept = []
        for word in range(len(sentence)):  # stop at the first word without a piece: the text was cut there, or it is unreadable
            if word not in first:
                break
            kept.append(first[word])
        vectors.append(states[i][kept])
        tags.append([tag for _, tag in sentence[: len(kept)]])
    return vectors, tags
