"""How surprised a masked language model is by running text."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from langadapt.contracts import Context, Embeds, Evaluator, Resource, Score
from langadapt.contracts.reading import fetch, tables
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import interval


class PseudoPerplexity(Evaluator):
    """Exponential of the mean negative log-probability of tokens, each predicted with itself hidden and all others in sight.

    Salazar et al. 2020 (arXiv:1910.14659); by length of the text as llm-jp-modernbert reports it (arXiv:2504.15544).  Encoders with other
    vocabularies are compared per character of the text itself: a token that is shorter is easier to guess.  Unknown pieces are charged
    for as the one token they are.  Lower is better.
    """

    name: ClassVar[str] = "pseudo-perplexity"
    needs_mlm_head: ClassVar[bool] = True

    data: Resource
    task: str = ""
    texts: Annotated[int, Field(ge=2)] = 100
    """Texts drawn from the resource; every token of one is a forward pass of its text."""
    lengths: list[Annotated[int, Field(ge=1)]] = []
    """Ends of classes of length, in tokens, that are scored by themselves as well."""
    samples: Annotated[int, Field(ge=100)] = 1000

    @property
    def test_data(self) -> Resource:
        return self.data

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        lines = [text for path in fetch(self.data, ctx) for _, text in tables.lines(path) if text.strip()]
        places = sorted(ctx.rng("pseudo-perplexity texts").permutation(len(lines))[: self.texts])
        chosen = [lines[i] for i in places]
        if len(chosen) < 2:
            raise DataError(f"{len(chosen)} texts are too few to score", where=self.data.name)
        read = encoder.tokenizer(chosen, truncation=True, max_length=encoder.settings.max_length, return_offsets_mapping=True)
        ids: list[list[int]] = read["input_ids"]
        # An unknown piece is charged for like any other: leaving it out would reward a vocabulary for what it cannot spell.
        special = set(encoder.tokenizer.all_special_ids) - {encoder.tokenizer.unk_token_id}
        places_of = [[i for i, token in enumerate(one) if token not in special] for one in ids]
        # Of a text that was cut, the characters that are read; of any other, all.
        ends = [max((end for _, end in offsets), default=0) for offsets in read["offset_mapping"]]
        shown = [end if len(one) >= encoder.settings.max_length else len(text) for text, one, end in zip(chosen, ids, ends, strict=True)]
        found = self._losses(encoder, ids, places_of, ctx)
        task = self.task or self.data.name
        scores = self._scores(found, [len(one) for one in places_of], shown, task, ctx)
        low = 0
        for end in self.lengths:
            rows = [i for i, one in enumerate(ids) if low < len(one) <= end]
            if len(rows) > 1:
                parts = (found[rows], [len(places_of[i]) for i in rows], [shown[i] for i in rows])
                scores += self._scores(*parts, f"{task} of {low + 1} to {end} tokens", ctx)
            low = end
        return scores

    def _losses(self, encoder: Embeds, ids: list[list[int]], places: list[list[int]], ctx: Context) -> np.ndarray:
        """(n,) summed negative log-probabilities of each text's tokens."""
        mask = encoder.tokenizer.mask_token_id
        if mask is None:
            raise DataError("the tokenizer has no mask token", hint="Pseudo-perplexity is a measure of masked language models.")
        found = []
        for one, chosen in ctx.log.track(list(zip(ids, places, strict=True)), "predicting tokens", len(ids)):
            hidden = [[*one[:i], mask, *one[i + 1 :]] for i in chosen]
            said = encoder.masked_log_probabilities(hidden, [[i] for i in chosen], [one[i] for i in chosen])
            found.append(-float(said.sum()))
        return np.array(found)

    def _scores(self, losses: np.ndarray, tokens: list[int], characters: list[int], task: str, ctx: Context) -> list[Score]:
        scores = []
        for unit, counts in (("token", np.array(tokens)), ("character", np.array(characters))):
            metric = f"pseudo-perplexity per {unit}"

            def on(rows: np.ndarray, counts: np.ndarray = counts) -> float:
                return float(np.exp(losses[rows].sum() / max(counts[rows].sum(), 1)))

            rng = ctx.rng(f"bootstrap {task} {metric}")
            low, high, drawn = interval(on, len(losses), rng, self.samples)
            value = on(np.arange(len(losses)))
            scores.append(Score(task, metric, value, low, high, len(losses), "", higher_is_better=False, resampled=drawn))
        return scores
