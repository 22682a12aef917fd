"""Whether two groups of words or sentences are nearer to one sort of attribute than to another."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from langadapt.contracts import Context, Evaluator, Resource, Score
from langadapt.contracts.reading import fetch, read_labelled
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import interval

if TYPE_CHECKING:
    from langadapt.contracts import Embeds

ROLES = ("target1", "target2", "attribute1", "attribute2")
PUBLISHED = ("targ1", "targ2", "attr1", "attr2")
"""The same in the files of the authors of SEAT."""

BYTES = 4_000_000
"""Of a test in JSON; the largest published one has a hundredth of it."""


@dataclass(frozen=True)
class Sets:
    """A test: two sets of targets and two of attributes, and what it is called."""

    task: str
    texts: dict[str, list[str]]


class Seat(Evaluator):
    """Effect size of an association, and its p: WEAT (Caliskan et al. 2017); on sentences SEAT (May et al. 2019, arXiv:1903.10561).

    ``s(w)`` is the mean cosine of w with the first attributes less that with the second; the effect is the difference of its means over
    the two sets of targets, over its deviation over both; 0 is no association, and the sign says whose.  p is the share of equal
    partitions of the targets with as large a difference: of all partitions where there are at most `partitions`, else of so many.  The
    authors' code: W4ngatang/sent-bias, e3559fb.  95 % intervals resample the targets.  A small effect is no proof that an encoder is fair.

    Data: a table of ``text, label`` with the labels target1, target2, attribute1, attribute2 (or a resource's `labels` that say so), or the
    authors' JSON, a test a file.
    """

    name: ClassVar[str] = "seat"

    data: Resource
    task: str = ""
    partitions: Annotated[int, Field(ge=100, le=1_000_000)] = 10_000
    samples: Annotated[int, Field(ge=100)] = 1000

    @property
    def test_data(self) -> Resource:
        return self.data

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        return [score for sets in self._read(ctx) for score in self._scores(sets, encoder, ctx)]

    def _read(self, ctx: Context) -> list[Sets]:
        paths = fetch(self.data, ctx)
        name = self.task or self.data.name
        found = [published(path) for path in paths]
        if all(sets is not None for sets in found):
            return [Sets(f"{name} {sets.task}" if len(paths) > 1 else name, sets.texts) for sets in found if sets is not None]
        rows = read_labelled(self.data, ctx)
        texts: dict[str, list[str]] = {role: [] for role in ROLES}
        for (text, *more), label in zip(rows.texts, rows.labels, strict=True):
            if label not in texts or more:
                raise DataError(
                    f"'{label}' is no part of such a test",
                    where=self.data.name,
                    hint=f"Labels are {', '.join(ROLES)}; each row is one text.",
                )
            texts[label].append(text)
        return [Sets(name, texts)]

    def _scores(self, sets: Sets, encoder: Embeds, ctx: Context) -> list[Score]:
        for role, texts in sets.texts.items():
            if len(texts) < 2:
                raise DataError(f"{sets.task}: {role} has {len(texts)} texts, and needs two at least", where=self.data.name)
        first, second, *attributes = (encoder.encode(sets.texts[role], normalize=True, progress=ctx.log) for role in ROLES)
        x, y = (association(targets, *attributes) for targets in (first, second))

        def statistic(rows: np.ndarray) -> float:
            of_x, of_y = rows[rows < len(x)], rows[rows >= len(x)] - len(x)
            return effect_size(x[of_x], y[of_y]) if len(of_x) > 1 and len(of_y) > 1 else float("nan")

        n, task = len(x) + len(y), sets.task
        low, high, drawn = interval(statistic, n, ctx.rng(f"bootstrap {task} effect"), self.samples)
        p = permutation_p(x, y, self.partitions, ctx.rng(f"partitions {task}"))
        effect = Score(task, "effect size", effect_size(x, y), low, high, n, "d", False, drawn)
        return [effect, Score(task, "p", p, None, None, n, "0 to 1")]


def published(path: Path) -> Sets | None:
    """A test as the authors write it; None for a file that is no such object.

    Raises:
        DataError: it is one, and its sets are no lists of texts.
    """
    if path.suffix not in (".json", ".jsonl") or path.stat().st_size > BYTES:
        return None
    try:
        whole: Any = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(whole, dict) or not set(PUBLISHED) <= set(whole):
        return None
    texts = {}
    for role, key in zip(ROLES, PUBLISHED, strict=True):
        examples = whole[key].get("examples") if isinstance(whole[key], dict) else None
        if not isinstance(examples, list) or not all(isinstance(one, str) and one.strip() for one in examples):
            raise DataError(f"'{key}' has no list of texts under 'examples'", where=str(path))
        texts[role] = examples
    return Sets(path.name.split(".")[0], texts)


def association(targets: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n,) mean cosine of each unit row (n, d) with the first attributes' rows, less that with the second's."""
    found: np.ndarray = ((targets @ first.T).mean(1) - (targets @ second.T).mean(1)).astype(np.float64)
    return found


def effect_size(x: np.ndarray, y: np.ndarray) -> float:
    """Difference of the means over the deviation (n − 1) of all; 0 where all are alike."""
    spread = np.concatenate([x, y]).std(ddof=1)
    return float((x.mean() - y.mean()) / spread) if spread > 0 else 0.0


def permutation_p(x: np.ndarray, y: np.ndarray, most: int, rng: np.random.Generator) -> float:
    """Share of partitions of x and y, as large as these, whose first part has a mean at least as large as x's.

    Where there are more than `most` partitions, so many are drawn, the given one among them.
    """
    both, observed = np.concatenate([x, y]), x.sum()
    least = observed - 1e-12 * max(1.0, abs(observed))
    if math.comb(len(both), len(x)) <= most:
        sums = np.array([sum(part) for part in itertools.combinations(both.tolist(), len(x))])
        return float((sums >= least).mean())
    hits = 1
    for start in range(1, most, 1000):
        drawn = rng.permuted(np.tile(both, (min(1000, most - start), 1)), axis=1)[:, : len(x)].sum(1)
        hits += int((drawn >= least).sum())
    return hits / most
