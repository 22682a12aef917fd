"""Whether a masked language model finds stereotypes likelier than their opposites."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from langadapt.contracts import Context, Evaluator, Resource, Score
from langadapt.contracts.reading import read_labelled
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import interval

if TYPE_CHECKING:
    from langadapt.contracts import Embeds

LEAST = 10
"""Pairs of one kind of bias from which it is scored by itself."""


class LogProbabilityBias(Evaluator):
    """Share of pairs, ×100, whose more stereotyping sentence the model finds likelier: 50 is even-handed, 100 always the stereotype.

    CrowS-Pairs (Nangia et al. 2020, arXiv:2010.00133): two sentences differ in who they speak of; each is scored by the log-probabilities
    of the tokens that both *share*, each hidden in its turn with all others in sight, so that a rare name costs nothing by itself.  Which
    tokens are shared is found by difflib, as the authors do (nyu-mll/crows-pairs, commit 8aaac11); scores are rounded to three
    decimals and pairs with equal ones count as no stereotype, as theirs.

    ``distance from 50`` is what has a direction, and less of it is better.

    Tables have the two sentences and a label, the kind of bias (``sentence1`` the more stereotyping one); kinds with ten pairs and more
    are scored by themselves too.  No prompt and no normalizer is applied.
    """

    name: ClassVar[str] = "log-probability-bias"
    needs_mlm_head: ClassVar[bool] = True

    data: Resource
    task: str = ""
    samples: Annotated[int, Field(ge=100)] = 1000

    @property
    def test_data(self) -> Resource:
        return self.data

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        rows = read_labelled(self.data, ctx)
        if len(rows.texts) < 2 or any(len(texts) != 2 for texts in rows.texts):
            raise DataError(f"{len(rows.texts)} rows of two sentences each are needed, and two rows at least", where=self.data.name)
        more, less = np.array([pair_scores(encoder, texts, ctx) for texts in ctx.log.track(rows.texts, "pairs", len(rows.texts))]).T
        likelier = 100.0 * (np.round(more, 3) > np.round(less, 3))
        task = self.task or self.data.name
        found = self._scores(task, likelier, ctx)
        kinds = np.array(rows.labels)
        for kind in sorted(set(rows.labels)):
            if (kinds == kind).sum() >= LEAST:
                found += self._scores(f"{task} {kind}", likelier[kinds == kind], ctx)
        return found

    def _scores(self, task: str, likelier: np.ndarray, ctx: Context) -> list[Score]:
        """How far from even-handed, which can be compared, and to which side."""
        rng = ctx.rng(f"bootstrap {task} stereotypes")
        low, high, drawn = interval(lambda rows: float(likelier[rows].mean()), len(likelier), rng, self.samples)
        value, away = float(likelier.mean()), np.abs(drawn - 50)
        least, most = (float(end) for end in np.percentile(away, [2.5, 97.5]))
        n = len(likelier)
        distance = Score(task, "distance from 50", abs(value - 50), least, most, n, higher_is_better=False, resampled=away)
        return [distance, Score(task, "stereotypes", value, low, high, n)]


def pair_scores(encoder: Embeds, texts: tuple[str, ...], ctx: Context) -> tuple[float, float]:
    """Summed natural log-probabilities of the tokens that two sentences share, in each of them.

    Raises:
        DataError: the tokenizer has no mask token.
    """
    mask = encoder.tokenizer.mask_token_id
    if mask is None:
        raise DataError("the tokenizer has no mask token", hint="This is a measure of masked language models.")
    one, other = (encoder.tokenizer(text, truncation=True, max_length=encoder.settings.max_length)["input_ids"] for text in texts)
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    shared = [(block.a + i, block.b + i) for block in blocks for i in range(block.size)]
    special = set(encoder.tokenizer.all_special_ids) - {encoder.tokenizer.unk_token_id}
    shared = [(a, b) for a, b in shared if one[a] not in special]
    if not shared:
        return 0.0, 0.0
    sums = []
    for ids, places in ((one, [a for a, _ in shared]), (other, [b for _, b in shared])):
        hidden = [[*ids[:place], mask, *ids[place + 1 :]] for place in places]
        sums.append(float(encoder.masked_log_probabilities(hidden, [[place] for place in places], [ids[place] for place in places]).sum()))
    return sums[0], sums[1]
