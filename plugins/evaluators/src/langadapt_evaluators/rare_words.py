"""Whether a masked language model knows what a word is, by how often the word is met."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from langadapt.contracts import Context, Evaluator, Resource, Score
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import mean_score
from langadapt_evaluators.columns import LEAST, read_columns

if TYPE_CHECKING:
    from langadapt.contracts import Embeds

WORD, BLANK = "{word}", "{answer}"
FIRST = 3
"""Places that `precision@3` looks at."""

BLOCK = 64
"""Blanks whose whole vocabulary is held at once: 64 × 250,000 numbers are 64 MB."""


class RareWords(Evaluator):
    """Mean reciprocal rank, ×100, of the best right answer among all pieces, for questions like “{word} is a {answer}”.

    WordNet language model probing (Schick & Schütze 2020, arXiv:1904.06707; timoschick/am-for-bert): the blank is a mask token, the
    best of a relation's `patterns` counts, and answers that are not one piece of the vocabulary are no answers (questions without any are
    left out and counted in the log).  ``precision@3`` is the share of the first three pieces that are right.  Ranks are among all pieces,
    special ones left out; the authors count a rank beyond their first hundred predictions as zero.

    Tables have ``word`` and ``answers`` (separated by ``|``), and may have ``relation``, which chooses the patterns, and ``group``, how
    often the word is met (rare, medium, frequent); groups with ten questions and more are scored by themselves too.
    """

    name: ClassVar[str] = "rare-words"
    needs_mlm_head: ClassVar[bool] = True

    data: Resource
    patterns: Annotated[dict[str, list[str]], Field(min_length=1)]
    """Relation → sentences with ``{word}`` and ``{answer}``; the relation of tables without that column is the empty text."""
    task: str = ""
    samples: Annotated[int, Field(ge=100)] = 1000

    @property
    def test_data(self) -> Resource:
        return self.data

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        if encoder.tokenizer.mask_token_id is None:
            raise DataError("the tokenizer has no mask token", hint="This is a measure of masked language models.")
        ranks, precisions, groups, left = [], [], [], 0
        rows = list(read_columns(self.data, ctx, ("word", "answers"), ("relation", "group")))
        for where, row in ctx.log.track(rows, "questions", len(rows)):
            asked = list(self._asked(encoder, row, where))
            if not asked:
                left += 1
                continue
            ids, places, goals = zip(*asked, strict=True)
            found = [best(scores, goal) for scores, goal in zip(_scores(encoder, ids, places), goals, strict=True)]
            ranks.append(100 * max(rank for rank, _ in found))
            precisions.append(100 * max(precision for _, precision in found))
            groups.append(row["group"])
        if left:
            ctx.log.warning(f"{left:,} of {len(rows):,} questions have no answer that is one piece of the vocabulary, and are left out")
        if not ranks:
            raise DataError("no question has an answer that is one piece of the vocabulary", where=self.data.name)
        return self._all(np.array(ranks), np.array(precisions), np.array(groups), ctx)

    def _asked(self, encoder: Embeds, row: dict[str, str], where: str) -> Iterator[tuple[list[int], int, list[int]]]:
        """(token ids, place of the mask, right pieces) of each pattern that has any.

        Raises:
            DataError: the relation has no patterns.
        """
        if row["relation"] not in self.patterns:
            known = ", ".join(f"'{name}'" for name in self.patterns)
            raise DataError(f"there are no patterns for the relation '{row['relation']}' (there are: {known})", where=where)
        tokenizer, answers = encoder.tokenizer, [one.strip() for one in row["answers"].split("|") if one.strip()]
        for pattern in self.patterns[row["relation"]]:
            text = pattern.replace(WORD, row["word"])
            ids = list(tokenizer(text.replace(BLANK, str(tokenizer.mask_token)))["input_ids"])
            if ids.count(tokenizer.mask_token_id) != 1:
                raise DataError(f"the pattern '{pattern}' needs one {BLANK}", where=self.data.name)
            place = ids.index(tokenizer.mask_token_id)
            pieces = []
            for answer in answers:
                whole = list(tokenizer(text.replace(BLANK, answer))["input_ids"])
                if len(whole) == len(ids) and all(a == b for i, (a, b) in enumerate(zip(ids, whole, strict=True)) if i != place):
                    pieces.append(whole[place])
            pieces = sorted(set(pieces) - set(tokenizer.all_special_ids))
            if pieces:
                yield ids, place, pieces

    def _all(self, ranks: np.ndarray, precisions: np.ndarray, groups: np.ndarray, ctx: Context) -> list[Score]:
        task = self.task or self.data.name
        parts = [(task, np.ones(len(ranks), dtype=bool)), *((f"{task} {one}", groups == one) for one in sorted(set(groups) - {""}))]
        found = []
        for name, rows in parts:
            if name == task or rows.sum() >= LEAST:
                for metric, items in (("mrr", ranks), (f"precision@{FIRST}", precisions)):
                    rng = ctx.rng(f"bootstrap {name} {metric}")
                    found.append(mean_score(name, metric, items[rows], rng, self.samples))
        return found


def _scores(encoder: Embeds, ids: tuple[list[int], ...], places: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Log-probabilities (V,) of each blank, special pieces at the end of all."""
    special = encoder.tokenizer.all_special_ids
    for start in range(0, len(ids), BLOCK):
        some = slice(start, start + BLOCK)
        for row in encoder.masked_log_probabilities(ids[some], [[place] for place in places[some]], None):
            row[special] = -np.inf
            yield row


def best(scores: np.ndarray, goal: list[int]) -> tuple[float, float]:
    """Reciprocal rank of the best of the right pieces, and the share of right ones among the first, of scores (V,)."""
    rank = 1 + int((scores > scores[goal].max()).sum())
    first = np.argsort(-scores, kind="stable")[:FIRST]
    return 1 / rank, float(np.isin(first, goal).mean())
