"""How finely a tokenizer cuts a language."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from langadapt.contracts import Context, Evaluator, Resource, Score
from langadapt.contracts.reading import fetch, tables
from langadapt.contracts.text import tokens_of_words, word_places
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import interval

if TYPE_CHECKING:
    from langadapt.contracts import Embeds


class Fertility(Evaluator):
    """Tokens per word, share of words in more than one token, and share of unknown tokens.

    Ács 2019; Rust et al. 2021 (arXiv:2012.15613).  Words stand between white space, or are told apart by ICU in scripts that set none;
    tokens are counted in the text.  Intervals resample texts.
    """

    name: ClassVar[str] = "fertility"
    version: ClassVar[str] = "2"

    data: Resource
    limit: int = 20_000
    """Texts read at most."""

    @property
    def test_data(self) -> Resource:
        return self.data

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        texts = self._texts(ctx)
        found = tokens_of_words(encoder.tokenizer, texts, list(map(word_places(texts), texts)))
        # words, tokens, continued words, unknown tokens
        counts = np.array([(len(one.words), one.tokens, (one.words > 1).sum(), one.unknown) for one in found], dtype=np.float64)
        figures = (
            ("tokens per word", 1, 0, 1.0, "tokens"),
            ("continued words", 2, 0, 100.0, "×100"),
            ("unknown tokens", 3, 1, 100.0, "×100"),
        )
        rng = ctx.rng("bootstrap fertility")
        scores = []
        for name, top, bottom, scale, unit in figures:

            def ratio(rows: np.ndarray, top: int = top, bottom: int = bottom, scale: float = scale) -> float:
                return float(scale * counts[rows, top].sum() / max(counts[rows, bottom].sum(), 1))

            low, high, _ = interval(ratio, len(texts), rng, 200)
            value = ratio(np.arange(len(texts)))
            scores.append(Score(f"fertility {self.data.name}", name, value, low, high, int(counts[:, 0].sum()), unit))
        return scores

    def _texts(self, ctx: Context) -> list[str]:
        texts: list[str] = []
        for path in fetch(self.data, ctx):
            if tables.suffix(path) in (".txt", ""):
                texts += [text for _, text in tables.lines(path) if text.strip()]
            else:
                for _, row in tables.rows(path):
                    texts += [v for k, v in row.items() if isinstance(v, str) and v.strip() and k in TEXT_COLUMNS]
        if not texts:
            raise DataError("there is no text to measure fertility on", where=self.data.name)
        return texts[: self.limit]


TEXT_COLUMNS = ("text", "premise", "hypothesis", "sentence1", "sentence2", "anchor", "positive")
