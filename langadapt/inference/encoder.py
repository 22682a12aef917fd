"""Encoder: texts in, float32 vectors out, through adapters chosen per call or per sentence.

Texts are tokenised once, sorted by token count and run in groups that share a length, so a batch pads a few per cent
whatever the mix of texts; results come back in the order given.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from langadapt.artifacts import adapter as light
from langadapt.artifacts.encoder import LoadedEncoder, pad_id
from langadapt.contracts.component import Log
from langadapt.contracts.data import Normalizer
from langadapt.contracts.encoder import EncoderSettings
from langadapt.contracts.vectors import Fitted, MultiVectors, Pooler
from langadapt.errors import ModelError
from langadapt.inference.asking import asked
from langadapt.inference.opening import best_device, local_folder, open_checkpoint
from langadapt.inference.passes import Passes
from langadapt.inference.reading import adapter_settings
from langadapt.inference.router import choose
from langadapt.inference.serving import Adapters, WithAdapters
from langadapt.inference.texts import check_texts, token_ids_of
from langadapt.modeling.encoder import EncoderModule
from langadapt.modeling.pooling import EveryLayer, LayerMean

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from langadapt.registry.registry import Registry

logger = logging.getLogger("langadapt")


@dataclass(frozen=True)
class EncodeStats:
    """What one :meth:`Encoder.encode` call did."""

    texts: int
    tokens: int
    truncated: int
    """Texts longer than their maximum, cut at its end."""
    limits: tuple[int, ...] = ()
    """The maxima, in tokens, that texts were cut at: the base's, or an adapter's own."""


class Encoder(WithAdapters):
    """An encoder ready for inference, made with :meth:`load`.  Threads may share one, and add and remove adapters meanwhile."""

    def __init__(
        self,
        loaded: LoadedEncoder,
        module: EncoderModule,
        normalizer: Normalizer | None = None,
        precision: str = "fp32",
        output: Fitted | None = None,
        adapters: Adapters | None = None,
    ) -> None:
        self._loaded, self._module = loaded, module
        self._normalizer, self._output = normalizer, output
        self.stats = EncodeStats(0, 0, 0)
        """Of the last call that ended."""
        self._layer: int | None = None
        """The layer that :meth:`token_states` reads; None the last."""
        self._passes = Passes(module, precision)
        super().__init__(adapters or Adapters(loaded, module, normalizer))

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        device: str | None = None,
        precision: str = "fp32",
        registry: Registry | None = None,
        quantization: str | None = None,
        pooler: dict[str, Any] | str | None = None,
        normalizer: Normalizer | None = None,
        max_adapters: int = 256,
        mlm_head: bool = False,
    ) -> Encoder:
        """Load a release, a sentence-transformers folder, any transformers checkpoint, or one of these from the Hub.

        A trained adapter in a store loads with its base, as its training left them; an adapter released alone is added to
        its base with :meth:`add_adapter`.

        Args:
            source: a folder, or a Hub id.
            device: ``cpu``, ``cuda``, ``mps``; None takes the best there is.
            precision: ``fp32`` or ``bf16`` (pooling stays in float32).
            registry: where poolers and normalizers are looked up; None uses the installed plugins.
            quantization: ``8bit`` or ``4bit`` linear layers (needs bitsandbytes).
            pooler: another pooler than the settings', as its name or a slot.
            normalizer: what every text goes through first, where the settings name none.
            mlm_head: load the masked-LM head too, where the checkpoint has one.
            max_adapters: adapters kept in memory; the least recently used ones leave first.

        Raises:
            ModelError: no such folder, pickled or damaged weights, no tokenizer, a device or quantisation this machine has not.
            DataError: the Hub cannot be reached or has no such repository.
        """
        folder = local_folder(source)
        if light.is_adapter(folder):
            options = {"device": device, "precision": precision, "registry": registry, "normalizer": normalizer}
            return _with_adapter(cls, folder, quantization, max_adapters=max_adapters, **options)
        opened = open_checkpoint(folder, device or best_device(), pooler, normalizer, quantization, mlm_head, registry)
        adapters = Adapters(opened.loaded, opened.module, opened.normalizer, registry, max_adapters, folder)
        return cls(opened.loaded, opened.module, opened.normalizer, precision, opened.output, adapters)

    def __repr__(self) -> str:
        return described(self)

    def similarity(self, texts: Sequence[str], others: Sequence[str] | None = None, *, adapter: str | None = None) -> np.ndarray:
        """Cosines of texts with others, or with one another: (n, m) float32 between -1 and 1; of a vector a token, sums of the best.

        Raises:
            DataError, ModelError: as :meth:`encode`.
        """
        if self.gives == "multi":
            one = self.encode_multi(texts)
            return one.maxsim(one if others is None else self.encode_multi(others))
        left = self.encode(texts, normalize=True, adapter=adapter)
        right = left if others is None else self.encode(others, normalize=True, adapter=adapter)
        found: np.ndarray = np.clip(left @ right.T, -1.0, 1.0)
        return found

    @property
    def precision(self) -> str:
        """``fp32`` or ``bf16``."""
        return self._passes.precision

    @property
    def settings(self) -> EncoderSettings:
        """Pooler, maximum length, prompt, normalizer."""
        return self._loaded.settings

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The fast tokenizer."""
        return self._loaded.tokenizer

    @property
    def device(self) -> str:
        """``cpu``, ``cuda`` or ``mps``."""
        return self._module.device.type

    @property
    def width(self) -> int:
        """d of the vectors."""
        return self._module.width

    def route(self, texts: Sequence[str], *, threshold: float = -1.0, batch_tokens: int = 4096) -> list[str | None]:
        """The adapter whose training texts are most like each text, by the base's vectors; None below `threshold`.

        Pass the answer to ``encode(adapter=…)``.  Nothing is routed unless this is called.

        Raises:
            ModelError: no adapter here has a centroid.
        """
        plain = self.encode(texts, adapter=[None] * len(texts), normalize=False, batch_tokens=batch_tokens)
        return choose(plain, self._adapters.bank().centroids(), threshold)

    def encode(
        self,
        texts: Sequence[str],
        *,
        adapter: str | Sequence[str | None] | None = None,
        batch_tokens: int = 4096,
        progress: bool | Log = False,
        normalize: bool | None = None,
    ) -> np.ndarray:
        """Vectors of texts, in order: (n, d) float32, or whatever the encoder stores them as (8-bit integers).

        An empty string gets the vector of an empty sentence.  Over-long texts are truncated; how many is in
        :attr:`stats` and in one log warning.

        Args:
            adapter: a name for all texts, or one per text, None there being the base alone; None means :attr:`default_adapter`.
            batch_tokens: padded tokens in one forward pass.
            progress: show a bar, or the log to show progress in.
            normalize: scale to length one, or not, as float32; None does what the encoder's settings say, and gives what they store.

        Raises:
            DataError: `texts` is a single string or holds something that is no string, or no Unicode text; not one adapter's name
                a text.
            ModelError: unknown adapters, all of them named; nothing is encoded then.
        """
        if self.gives == "multi":
            raise ModelError(
                f"'{self.settings.pooler['use']}' gives a vector a token, and one a text is asked for",
                hint="Use encode_multi and compare by maxsim; or score it in a search.",
            )
        with asked(self, texts, adapter) as call:
            if not call.ids:
                self.stats = EncodeStats(0, 0, 0)
                return np.zeros((0, self.width), np.float32)
            vectors = self._passes.vectors(call.ids, batch_tokens, progress, call.lease)
        vectors, cut = self.finished(vectors, normalize), call.cut
        self.stats = EncodeStats(len(texts), call.tokens, sum(cut.values()), tuple(sorted(cut)))
        if cut:
            limits = " or ".join(map(str, sorted(cut)))
            logger.warning("%d of %d texts are longer than %s tokens and were truncated", sum(cut.values()), len(texts), limits)
        return vectors

    def finished(self, vectors: np.ndarray, normalize: bool | None) -> np.ndarray:
        """Vectors (n, d) of passes scaled and stored as the call, or else the settings, say; they may be scaled in place."""
        if self._output is None:
            return _units(vectors) if (self.settings.normalize if normalize is None else normalize) else vectors
        stored = self._output.apply(_units(vectors) if self.settings.normalize else vectors)
        vectors = stored if normalize is None else self._output.floats(stored)
        return _units(vectors) if normalize else vectors

    @property
    def gives(self) -> str:
        """``dense``, or ``multi`` for a vector a token."""
        return self._module.pooler.gives

    def encode_multi(self, texts: Sequence[str], *, batch_tokens: int = 4096, progress: bool | Log = False) -> MultiVectors:
        """A vector a token, in order: compare with :meth:`~langadapt.contracts.MultiVectors.maxsim`.

        Raises:
            DataError: something that is no text.
            ModelError: the encoder gives one vector a text.
        """
        check_texts(texts)
        if self.gives != "multi":
            raise ModelError("this encoder gives one vector a text", hint="Use encode.")
        if self.default_adapter is not None:
            raise ModelError("adapters are not served by encoders that give a vector a token", hint="Merge it into its base first.")
        ids, cut = token_ids_of(texts, [None] * len(texts), self._adapters.own_reading(), self.tokenizer)
        self.stats = EncodeStats(len(texts), sum(map(len, ids)), sum(cut.values()), tuple(sorted(cut)))
        return self._passes.multi(ids, batch_tokens, progress)

    def trainable_copy(self) -> EncoderModule:
        """A copy of the base to train, every weight free; this encoder stays as it is.

        Raises:
            ModelError: its weights are quantised, or it speaks through an adapter.
        """
        if self.default_adapter is not None:
            raise ModelError("an encoder with an adapter has no weights of its own to train", hint="Merge the adapter into its base first.")
        if getattr(self._module.model, "is_quantized", False):
            raise ModelError("quantised weights cannot be trained", hint="Load the encoder without quantisation.")
        return copy.deepcopy(self._module).requires_grad_(True)

    @property
    def layers(self) -> int:
        """Layers of the body."""
        return self._module.spec.layers

    def at_layer(self, layer: int) -> Encoder:
        """The base, its vectors the mean over tokens of one layer's states; 0 is the embeddings.

        Raises:
            ModelError: it has not so many layers.
        """
        found = _pooled_by(self, LayerMean(layers=[layer]))
        found._layer = layer
        return found

    def every_layer(self) -> Encoder:
        """The base, its vectors those of :meth:`at_layer` of all layers, one behind the other: (layers + 1) × d, in one pass."""
        return _pooled_by(self, EveryLayer())

    def masked_log_probabilities(
        self,
        ids: Sequence[Sequence[int]],
        positions: Sequence[Sequence[int]],
        goal: Sequence[int] | None,
        *,
        batch_tokens: int = 4096,
        progress: bool | Log = False,
    ) -> np.ndarray:
        """(m,) natural log-probabilities of the tokens `goal` at `positions` of sequences, in order; (m, V) of all tokens where it is None.

        Raises:
            ModelError: the encoder has no masked-LM head.
        """
        if not self._loaded.has_mlm_head:
            raise ModelError("the encoder has no masked-LM head", hint="Score the base, or a stage that an MLM stage leaves.")
        return self._passes.log_probabilities(ids, positions, goal, batch_tokens, progress)

    def token_states(self, ids: Sequence[Sequence[int]], *, batch_tokens: int = 4096, progress: bool | Log = False) -> list[np.ndarray]:
        """States of the base's last layer (or of :meth:`at_layer`'s), without adapters: (T, d) float32 each, in order.

        The caller has cut the sequences to the encoder's maximum length.
        """
        return self._passes.states(ids, self._layer, batch_tokens, progress)


def _pooled_by(encoder: Encoder, pooler: Pooler) -> Encoder:
    """An encoder's base under another pooler.

    Raises:
        ModelError: it speaks through an adapter.
    """
    if encoder.default_adapter is not None:
        raise ModelError("the layers of an encoder that speaks through an adapter cannot be read", hint="Merge it into its base first.")
    given = encoder._module
    module = EncoderModule(given.model, pooler, pad_id(encoder.tokenizer), budget=given.budget, types=given.types)
    return Encoder(encoder._loaded, module.eval(), encoder._normalizer, encoder.precision)


def _with_adapter(kind: type[Encoder], folder: Path, quantization: str | None, **options: Any) -> Encoder:
    """A trained adapter on its base, quantised as in training unless another quantisation is asked for."""
    record = light.load(folder)
    settings, base = adapter_settings(folder), light.base_folder(folder)
    found = kind.load(base, quantization=quantization or record.quantization, pooler=settings.pooler, **options)
    found._loaded.settings = settings
    found.roles = record.roles
    for role in record.roles:
        found.add_adapter(role, folder / role)
    if not record.roles:
        found.add_adapter("adapter", folder)
    found.default_adapter = record.roles[0] if record.roles else "adapter"
    return found


def _units(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, d) scaled to length one, in place."""
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors


def described(encoder: Encoder) -> str:
    """An encoder in one line."""
    model, settings, folder = encoder._module.model, encoder.settings, encoder._adapters.folder
    size = sum(weight.numel() for weight in model.parameters())
    adapters = f", adapters: {', '.join(encoder.adapters)}" if encoder.adapters else ""
    kind = model.config.model_type
    return (
        f"Encoder({str(folder) if folder else kind!r}: {kind}, {size / 1e6:.1f} M weights, {encoder.width} dimensions, "
        f"{settings.pooler['use']} of up to {settings.max_length} tokens, {encoder.device}, {encoder.precision}{adapters})"
    )
