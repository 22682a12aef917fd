"""Vectors of texts: an encoder's, its input layer's, letters, fastText."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from langadapt.contracts import Context
from langadapt_evaluators.word_vectors import characters, fasttext

if TYPE_CHECKING:
    from langadapt.contracts import Embeds

PARTS = ("encoder", "input", "characters", "fasttext")
"""What vectors can be joined of; see :class:`langadapt_evaluators.classification.Classification`."""

Rows = list[tuple[str, ...]]
"""Texts, or pairs of texts."""


def features(name: str, encoder: Embeds, sides: Sequence[Rows], more: Sequence[str], ctx: Context) -> list[np.ndarray]:
    """(n, d) of the texts of each side, (n, 4d) of pairs: u, v, |u − v| and u·v.

    Args:
        name: parts joined by ``+``.
        sides: rows to learn from, rows to score.
        more: texts that fastText learns from, beside the first side's.
    """
    distinct = [list(dict.fromkeys(text for texts in rows for text in texts)) for rows in sides]
    words = [[text.split() or [""] for text in texts] for texts in distinct]
    makers: dict[str, Callable[[], list[np.ndarray]]] = {
        "encoder": lambda: [encoder.encode(texts, normalize=True, progress=ctx.log) for texts in distinct],
        "input": lambda: [encoder.at_layer(0).encode(texts, normalize=True, progress=ctx.log) for texts in distinct],
        "characters": lambda: [_means(characters(side)) for side in words],
        "fasttext": lambda: [_means(side) for side in fasttext(words, more, ctx)],
    }
    parts = [makers[part]() for part in name.split("+")]
    found = []
    for side, (rows, texts) in enumerate(zip(sides, distinct, strict=True)):
        place = {text: i for i, text in enumerate(texts)}
        vectors = np.concatenate([part[side] for part in parts], 1)
        found.append(_paired([vectors[[place[row[i]] for row in rows]] for i in range(len(rows[0]))]))
    return found


def _means(words: list[np.ndarray]) -> np.ndarray:
    """Mean vectors of words, of length one."""
    found = np.stack([one.mean(0) for one in words])
    units: np.ndarray = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    return units


def _paired(sides: list[np.ndarray]) -> np.ndarray:
    if len(sides) == 1:
        return sides[0]
    u, v = sides
    return np.concatenate([u, v, np.abs(u - v), u * v], 1)


def in_the_plane(vectors: np.ndarray, seed: int) -> np.ndarray:
    """(n, 2) by t-SNE (van der Maaten & Hinton 2008), from the principal components, neighbours kept near; zeros where all are alike."""
    from sklearn.manifold import TSNE

    n = len(vectors)
    if vectors.std(0).max() < 1e-6:
        return np.zeros((n, 2))
    found: np.ndarray = TSNE(perplexity=min(30.0, (n - 1) / 3), init="pca", random_state=seed).fit_transform(vectors)
    return found
