"""Any evaluator, layer by layer, or pair of layers by pair."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from langadapt.contracts import Context, Embeds, Score
from langadapt_evaluators.around import Around


class LayerSweep(Around):
    """The first figure of another evaluator on the mean of each layer's states, the embeddings first (layer 0).

    The best layer of an encoder that was not trained for sentences is rarely its last (Hosseini, Munia & Khan 2023,
    2023.findings-emnlp.1030, who also combine layers).  Choose on a dev set: pooler ``layer-mean`` then reads what was best.  Each
    distinct text passes the encoder once; its vectors of all layers are kept meanwhile, 4 × (layers + 1) × d bytes a text.
    """

    name: ClassVar[str] = "layer-sweep"
    version: ClassVar[str] = "2"

    pairs: bool = False
    """Also the mean of every two layers."""

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        chosen: list[tuple[int, ...]] = [(layer,) for layer in range(encoder.layers + 1)]
        chosen += list(itertools.combinations(range(encoder.layers + 1), 2)) if self.pairs else []
        known: dict[str, np.ndarray] = {}
        found = []
        for layers in chosen:
            name = "+".join(map(str, layers))
            ctx.log.info(f"layer {name} of {encoder.layers}")
            first = self.evaluator.evaluate(AtLayers(encoder, layers, known), ctx)[0]
            found.append(replace(first, task=f"{first.task} layer {name}"))
        return found


class AtLayers:
    """An encoder whose vectors are the mean of some layers'; those of a text are computed for all layers at once and kept in `known`."""

    def __init__(self, encoder: Embeds, layers: tuple[int, ...], known: dict[str, np.ndarray]) -> None:
        self._encoder, self._layers, self._known = encoder, layers, known

    def encode(
        self,
        texts: Sequence[str],
        *,
        adapter: str | Sequence[str | None] | None = None,
        batch_tokens: int = 4096,
        progress: Any = False,
        normalize: bool | None = None,
    ) -> np.ndarray:
        """Vectors of texts, in order: (n, d) float32."""
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        if new:
            whole = self._encoder.every_layer().encode(new, batch_tokens=batch_tokens, progress=progress, normalize=False)
            self._known.update(zip(new, whole.reshape(len(new), self._encoder.layers + 1, -1), strict=True))
        found = np.stack([self._known[text][list(self._layers)].mean(0) for text in texts])
        if self._encoder.settings.normalize if normalize is None else normalize:
            found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        return found

    def token_states(self, ids: Any, *, batch_tokens: int = 4096, progress: Any = False) -> list[np.ndarray]:
        """States for token ids, the mean of the layers': (T, d) float32 each, in order."""
        each = [self._encoder.at_layer(layer).token_states(ids, batch_tokens=batch_tokens, progress=progress) for layer in self._layers]
        return [np.mean(states, axis=0) for states in zip(*each, strict=True)]

    def role(self, name: str) -> str | None:
        """The base has no adapters of its own."""
        return None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)
