"""The router: which adapter a text asks for, by its nearness to what each adapter was trained on.  Off unless asked.

Every adapter keeps the mean unit vector of its training texts under the plain base.  A text goes to the adapter whose centroid is
most similar to its own base vector (cosine), or to none where even that is below a threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from langadapt.errors import ModelError


def choose(vectors: np.ndarray, centroids: Mapping[str, np.ndarray], threshold: float = -1.0) -> list[str | None]:
    """The adapter of each base vector (n, d) by the adapters' centroids (d,); None below `threshold`.

    Raises:
        ModelError: no adapter has a centroid.
    """
    names: Sequence[str] = list(centroids)
    if not names:
        raise ModelError("no adapter here has a centroid to route by", hint="Adapters trained by langadapt have one.")
    means = _unit(np.stack([centroids[name] for name in names]))
    # Centred: encoders crowd in a narrow cone, and the common direction would hide the differences.
    middle = means.mean(0) if len(names) > 1 else np.zeros(means.shape[1], dtype=np.float32)
    similarity = _cosine(_unit(vectors) - middle, means - middle)
    best = similarity.argmax(1)
    return [names[k] if similarity[i, k] >= threshold else None for i, k in enumerate(best)]


def _unit(rows: np.ndarray) -> np.ndarray:
    found: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return found


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)[None]
    found: np.ndarray = a @ b.T / np.maximum(lengths, 1e-12)
    return found
