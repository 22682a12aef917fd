"""The router: which adapter a text asks for, by its nearness to what each adapter was trained on.  Off unless asked.

Every adapter keeps the mean unit vector of its training texts under the plain base.  A text goes to the adapter whose centroid is
most similar to its own base vector (cosine), or to none where even that is below a threshold.
"""

from __future__ import annotations

import threading

import numpy as np

from langadapt.errors import ModelError


class Router:
    """Centroids by adapter name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._centroids: dict[str, np.ndarray] = {}

    def add(self, name: str, centroid: np.ndarray) -> None:
        """Let texts be routed to `name`; the centroid is (d,)."""
        with self._lock:
            self._centroids[name] = centroid / max(float(np.linalg.norm(centroid)), 1e-12)

    def remove(self, name: str) -> None:
        """Route no more texts to `name`."""
        with self._lock:
            self._centroids.pop(name, None)

    def choose(self, vectors: np.ndarray, threshold: float) -> list[str | None]:
        """The adapter of each base vector (n, d), None below `threshold`.

        Raises:
            ModelError: no adapter has a centroid.
        """
        with self._lock:
            names = list(self._centroids)
            centroids = np.stack([self._centroids[name] for name in names]) if names else None
        if centroids is None:
            raise ModelError("no adapter here has a centroid to route by", hint="Adapters trained by langadapt have one.")
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        # Centred: encoders crowd in a narrow cone, and the common direction would hide the differences.
        middle = centroids.mean(0) if len(names) > 1 else np.zeros(centroids.shape[1], dtype=np.float32)
        similarity = _cosine(unit - middle, centroids - middle)
        best = similarity.argmax(1)
        return [names[k] if similarity[i, k] >= threshold else None for i, k in enumerate(best)]


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)[None]
    found: np.ndarray = a @ b.T / np.maximum(lengths, 1e-12)
    return found
