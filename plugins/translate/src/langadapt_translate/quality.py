"""Selectors of translated pairs that need an engine or an encoder: round trips, sentence vectors, token vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from langadapt.contracts import Context, Selector, Use
from langadapt.errors import DataError
from langadapt_translate.filters import Why, keep, sides
from langadapt_translate.memory import remembered

if TYPE_CHECKING:
    from datasets import Dataset

    from langadapt.contracts import Embeds


class RoundTrip(Selector):
    """Drop rows whose translation, translated back, is far from its source by chrF (Popović 2015, W15-3049).

    The engine back need not be the engine there.  Back translations are kept in the translation memory too.
    """

    name: ClassVar[str] = "round-trip"

    translator: Annotated[Any, Use("translator")]
    """From the target back to the source."""
    target: str
    source: str = "en"
    threshold: Annotated[float, Field(ge=0, le=100)] = 30.0
    """chrF, 0 to 100."""

    def select(self, rows: Dataset, encoder: Any, ctx: Context) -> Dataset:
        from sacrebleu.metrics import CHRF

        columns = sides(rows, self.name)
        texts = list(dict.fromkeys(text for column, _ in columns for text in rows[column] if text))
        said = remembered(self.translator, texts, self.target, self.source, ctx)
        measure = CHRF()
        worst = np.full(len(rows), 100.0)
        for column, source in columns:
            for i, (there, here) in enumerate(zip(rows[column], rows[source], strict=True)):
                back = said[there].text if there in said else ""
                worst[i] = min(worst[i], measure.sentence_score(back, [here]).score)
        ctx.log.info(f"round trip: median chrF {np.median(worst):.1f}")
        return keep(rows, ["far from its source" if one < self.threshold else None for one in worst], self.name, ctx)


class CrossLingual(Selector):
    """Drop rows whose translation is far from its source by the cosine of a multilingual encoder, or nearer to the other's source.

    The stage names the encoder (``encoder: base``).  Feng et al. 2022 (LaBSE, arXiv:2007.01852) filter parallel text so.
    """

    name: ClassVar[str] = "cross-lingual"

    threshold: Annotated[float, Field(ge=-1, le=1)] = 0.5

    def select(self, rows: Dataset, encoder: Embeds | None, ctx: Context) -> Dataset:
        vector = _vectors(_named(encoder, self.name), rows, self.name, ctx)
        columns = sides(rows, self.name)
        straight = np.stack([_dots(vector, rows[column], rows[source]) for column, source in columns])
        verdicts: list[Why] = ["far from its source" if one else None for one in straight.min(0) < self.threshold]
        if len(columns) == 2:
            (a, source_a), (b, source_b) = columns
            crossed = np.stack([_dots(vector, rows[b], rows[source_a]), _dots(vector, rows[a], rows[source_b])])
            differ = np.array([left != right for left, right in zip(rows[a], rows[b], strict=True)])
            for i in np.flatnonzero((crossed > straight).all(0) & differ):
                verdicts[i] = "exchanged"
        ctx.log.info(f"cross-lingual: median cosine {np.median(straight):.3f}")
        return keep(rows, verdicts, self.name, ctx)


class BertScore(Selector):
    """Drop rows whose tokens find no like among their source's: the F1 of greedy matches of token states.

    Zhang et al. 2020 (BERTScore, arXiv:1904.09675), across languages with a multilingual encoder, without idf weights or rescaling.
    The stage names the encoder.
    """

    name: ClassVar[str] = "bertscore"

    threshold: Annotated[float, Field(ge=-1, le=1)] = 0.6

    def select(self, rows: Dataset, encoder: Embeds | None, ctx: Context) -> Dataset:
        states = _states(_named(encoder, self.name), rows, self.name, ctx)
        worst = np.ones(len(rows))
        for column, source in sides(rows, self.name):
            for i, (there, here) in enumerate(zip(rows[column], rows[source], strict=True)):
                worst[i] = min(worst[i], greedy_f1(states[there], states[here]))
        ctx.log.info(f"bertscore: median {np.median(worst):.3f}")
        return keep(rows, ["unlike its source" if one < self.threshold else None for one in worst], self.name, ctx)


def greedy_f1(one: np.ndarray, other: np.ndarray) -> float:
    """F1 of the best cosine of each token of one text among the other's, both ways; states (T, d) of length one."""
    if not len(one) or not len(other):
        return 0.0
    cosines = one @ other.T
    precision, recall = float(cosines.max(1).mean()), float(cosines.max(0).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _named(encoder: Embeds | None, name: str) -> Embeds:
    if encoder is None:
        raise DataError(f"the selector '{name}' needs an encoder", hint="Name one in the stage: encoder: base.")
    return encoder


def _all_texts(rows: Dataset, name: str) -> list[str]:
    return list(dict.fromkeys(text for pair in sides(rows, name) for column in pair for text in rows[column]))


def _vectors(encoder: Embeds, rows: Dataset, name: str, ctx: Context) -> dict[str, np.ndarray]:
    texts = _all_texts(rows, name)
    return dict(zip(texts, encoder.encode(texts, normalize=True, progress=ctx.log), strict=True))


def _dots(vector: dict[str, np.ndarray], left: list[str], right: list[str]) -> np.ndarray:
    return np.array([float(vector[a] @ vector[b]) for a, b in zip(left, right, strict=True)])


def _states(encoder: Embeds, rows: Dataset, name: str, ctx: Context) -> dict[str, np.ndarray]:
    """Token states of length one (T, d) of every text, without the special tokens at its ends."""
    texts = _all_texts(rows, name)
    limit = encoder.settings.max_length
    encoded = encoder.tokenizer(texts, truncation=True, max_length=limit, return_special_tokens_mask=True)
    states = encoder.token_states(encoded["input_ids"], progress=ctx.log)
    found = {}
    for text, state, special in zip(texts, states, encoded["special_tokens_mask"], strict=True):
        own = state[np.array(special) == 0]
        found[text] = own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12)
    return found
