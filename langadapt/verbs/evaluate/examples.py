"""Some texts of a test as each encoder places them, for a look: a map in two dimensions, cosines of a few, tokens a word."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from langadapt.contracts.component import Context, SilentLog
from langadapt.contracts.encoder import Embeds
from langadapt.contracts.results import Evaluator
from langadapt.data.check import READERS
from langadapt.errors import LangadaptError

EXAMPLES = "examples.json"

TEXTS, SHOWN = 200, 10
"""Texts on the map, and those whose cosines are shown."""

LONGEST = 300
"""Characters of a text that are read and shown."""


def short(text: str) -> str:
    """A text, cut where it is long."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def some_texts(evaluators: Iterable[Evaluator], ctx: Context) -> list[str]:
    """Distinct texts of the first test that has any, in an order of the seed's, long ones cut.

    Data that cannot be read is its evaluator's to refuse.
    """
    quiet = replace(ctx, log=SilentLog())
    for evaluator in evaluators:
        data = evaluator.test_data
        if data is None or data.format not in READERS:
            continue
        try:
            found = list(dict.fromkeys(short(text) for row in READERS[data.format](data, quiet) for text in row if text))
        except LangadaptError:
            continue
        chosen = ctx.rng("texts of a report").permutation(len(found))[:TEXTS]
        return [found[i] for i in chosen]
    return []


def view(encoder: Embeds, texts: list[str], ctx: Context) -> dict[str, Any] | None:
    """What a report draws of an encoder: ``map`` (n, 2), ``cosines`` (m, m), ``tokens_a_word``; None where its vectors are no numbers."""
    try:
        vectors = np.asarray(encoder.encode(texts, normalize=True, progress=ctx.log), np.float64)
    except LangadaptError:
        return None
    if not np.isfinite(vectors).all():
        return None
    few = vectors[:SHOWN]
    words = sum(len(text.split()) for text in texts)
    tokens = sum(len(encoder.tokenizer.tokenize(text)) for text in texts)
    return {
        "map": np.round(_plane(vectors), 4).tolist(),
        "cosines": np.round(few @ few.T, 3).tolist(),
        "tokens_a_word": round(tokens / max(words, 1), 3),
    }


def _plane(vectors: np.ndarray) -> np.ndarray:
    """(n, 2) first principal components; signs such that the largest number of an axis is positive."""
    centred = vectors - vectors.mean(0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    found: np.ndarray = left[:, :2] * sizes[:2]
    found *= np.sign(found[np.abs(found).argmax(0), range(found.shape[1])])
    return found
