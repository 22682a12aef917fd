"""Whether a masked language model finds stereotypes likelier than their opposites."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from langadapt.contracts import Context, Evaluator, Resource, Score
from langadapt.contracts.reading import read_labelled
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import interval
from langadapt_evaluators.columns import LEAST
from langadapt_evaluators.seat import effect_size
from langadapt_evaluators.template_bias import associations

if TYPE_CHECKING:
    from langadapt.contracts import Embeds


class LogProbabilityBias(Evaluator):
    """Which sentences, or which people in a sentence, a masked language model finds likelier.

    ``form: pairs``: share of pairs, ×100, whose more stereotyping sentence is the likelier: 50 is even-handed, 100 always the stereotype.

    CrowS-Pairs (Nangia et al. 2020, arXiv:2010.00133): two sentences differ in who they speak of; each is scored by the log-probabilities
    of the tokens that both *share*, each hidden in its turn with all others in sight, so that a rare name costs nothing by itself.  Which
    tokens are shared is found by difflib, as the authors do (nyu-mll/crows-pairs, commit 8aaac11); scores are rounded to three
    decimals and pairs with equal ones count as no stereotype, as theirs.

    ``distance from 50`` is what has a direction, and less of it is better.

    Tables have the two sentences and a label, the kind of bias (``sentence1`` the more stereotyping one); kinds with ten pairs and more
    are scored by themselves too.  No prompt and no normalizer is applied.

    ``form: templates``: Kurita et al. 2019 (arXiv:1906.07337).  Tables have ``template`` (“{target} is a {attribute}.”), ``target1``,
    ``target2`` and ``attribute``, and may have ``label``, the set that the attribute is of.  Each row gives log p(target1 | attribute) /
    p(target1) less the same of the second target.  ``log-probability ratio`` is their mean, 0 even-handed, above it for the first target;
    ``distance from 0`` has a direction.  Where there are just two labels, ``effect size`` compares the rows of the first with those of
    the second, the difference of means over the deviation of all, as WEAT does; they also permute, which is not done here.  Their code was
    not run: the ratio is compared with the model's own probabilities.
    """

    name: ClassVar[str] = "log-probability-bias"
    needs_mlm_head: ClassVar[bool] = True

    data: Resource
    form: Literal["pairs", "templates"] = "pairs"
    task: str = ""
    samples: Annotated[int, Field(ge=100)] = 1000

    @property
    def test_data(self) -> Resource:
        return self.data

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        return self._of_templates(encoder, ctx) if self.form == "templates" else self._of_pairs(encoder, ctx)

    def _of_templates(self, encoder: Embeds, ctx: Context) -> list[Score]:
        ratios, labels = associations(encoder, self.data, ctx)
        task, n = self.task or self.data.name, len(ratios)
        rng = ctx.rng(f"bootstrap {task} ratio")
        low, high, drawn = interval(lambda rows: float(ratios[rows].mean()), n, rng, self.samples)
        value, away = float(ratios.mean()), np.abs(drawn)
        least, most = (float(end) for end in np.percentile(away, [2.5, 97.5]))
        distance = Score(task, "distance from 0", abs(value), least, most, n, "nats", False, away)
        found = [distance, Score(task, "log-probability ratio", value, low, high, n, "nats")]
        if len(names := sorted(set(labels))) == 2:
            first = np.array([label == names[0] for label in labels])

            def effect(rows: np.ndarray) -> float:
                x, y = ratios[rows][first[rows]], ratios[rows][~first[rows]]
                return effect_size(x, y) if len(x) > 1 and len(y) > 1 else float("nan")

            if min(first.sum(), (~first).sum()) > 1:
                low, high, _ = interval(effect, n, ctx.rng(f"bootstrap {task} effect"), self.samples)
                found.append(Score(f"{task} {' against '.join(names)}", "effect size", effect(np.arange(n)), low, high, n, "d"))
        return found

    def _of_pairs(self, encoder: Embeds, ctx: Context) -> list[Score]:
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
