"""Encoder: texts in, float32 vectors out, through adapters chosen per call or per sentence.

Texts are tokenised once, sorted by token count and run in groups that share a length, so a batch pads a few per cent
whatever the mix of texts; results come back in the order given.
"""

from __future__ import annotations

import copy
import itertools
import logging
import threading
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from langadapt.artifacts import adapter as light
from langadapt.artifacts import encoder as encoders
from langadapt.artifacts.encoder import LoadedEncoder, pad_id
from langadapt.contracts.component import Component, Log, SilentLog
from langadapt.contracts.data import Normalizer
from langadapt.contracts.encoder import EncoderSettings
from langadapt.contracts.vectors import Fitted, MultiVectors, Pooler, Transform
from langadapt.data.fetch import CHECKPOINT_FILES, hub_error
from langadapt.errors import DataError, ModelError
from langadapt.inference.adapter_files import parts_of, steady_reader
from langadapt.inference.bank import AdapterBank, Lease
from langadapt.inference.reading import Reading, adapter_settings
from langadapt.inference.router import choose
from langadapt.modeling.batching import group_by_length
from langadapt.modeling.digest import weights_digest
from langadapt.modeling.encoder import EncoderModule, Rows
from langadapt.modeling.loading import quantization_options
from langadapt.modeling.pooling import Cls, LayerMean, Mean
from langadapt.training.tokenized import tokenize_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from langadapt.registry.registry import Registry

C = TypeVar("C", bound=Component)

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


class Encoder:
    """An encoder ready for inference.  Make one with :meth:`load`.

    Threads may share one: they may encode, add and remove adapters at the same time.
    """

    def __init__(
        self,
        loaded: LoadedEncoder,
        module: EncoderModule,
        normalizer: Normalizer | None = None,
        precision: str = "fp32",
        output: Fitted | None = None,
    ) -> None:
        self._loaded = loaded
        self._module = module
        self._normalizer = normalizer
        self._output = output
        self.precision = precision
        self.stats = EncodeStats(0, 0, 0)
        """Of the last call that ended."""
        self.default_adapter: str | None = None
        """What :meth:`encode` uses when no adapter is named; None is the base alone."""
        self.roles: tuple[str, ...] = ()
        """``query`` and ``document`` where each has an adapter of its own."""
        self._folder: Path | None = None
        self._registry: Registry | None = None
        self._digest: str | None = None
        self._layer: int | None = None
        """The layer that :meth:`token_states` reads; None the last."""
        self._bank: AdapterBank | None = None
        self._adding = threading.Lock()
        self._max_adapters = 256

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
            return cls._with_adapter(folder, quantization, max_adapters=max_adapters, **options)
        device = device or best_device()
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ModelError("there is no CUDA device here", hint="Choose --device cpu, or name none for the best there is.")
        quantized = quantization_options(quantization, device) if quantization else None
        loaded = encoders.load(folder, mlm_head=None if mlm_head else False, options=quantized)
        if pooler is not None:
            loaded.choose_pooler(_component(registry, Pooler, {"use": pooler} if isinstance(pooler, str) else pooler).slot())
        settings = loaded.settings
        separate = settings.normalizer if not settings.normalizer_in_tokenizer else None
        normalizer = _component(registry, Normalizer, separate) if separate else normalizer
        untrained = loaded.pooling is None
        module = loaded.module(_component(registry, Pooler, settings.pooler))
        if untrained and module.pooling is not None:
            raise ModelError(
                f"there are no weights of its pooler '{settings.pooler['use']}' ({encoders.POOLING})",
                where=str(folder),
                hint="Copy the whole folder again; a pooler that learns is trained with its encoder.",
            )
        output = _restored(registry, settings.output, loaded.output or {}, folder) if settings.output else None
        if quantization:
            module.transforms.to(device)
            if module.pooling is not None:
                module.pooling.to(device)
        # Quantised weights stand on their device already, and refuse to be moved.
        found = cls(loaded, (module if quantization else module.to(device)).eval(), normalizer, precision, output)
        found._folder, found._registry, found._max_adapters = folder, registry, max_adapters
        return found

    @classmethod
    def _with_adapter(cls, folder: Path, quantization: str | None, **options: Any) -> Encoder:
        """A trained adapter on its base, quantised as in training unless another quantisation is asked for."""
        record = light.load(folder)
        settings, base = adapter_settings(folder), light.base_folder(folder)
        found = cls.load(base, quantization=quantization or record.quantization, pooler=settings.pooler, **options)
        found._loaded.settings = settings
        found.roles = record.roles
        for role in record.roles:
            found.add_adapter(role, folder / role)
        if not record.roles:
            found.add_adapter("adapter", folder)
        found.default_adapter = record.roles[0] if record.roles else "adapter"
        return found

    def __repr__(self) -> str:
        kind, size = self._module.model.config.model_type, sum(weight.numel() for weight in self._module.model.parameters())
        adapters = f", adapters: {', '.join(self.adapters)}" if self.adapters else ""
        pooler = self.settings.pooler["use"]
        return (
            f"Encoder({str(self._folder) if self._folder else kind!r}: {kind}, {size / 1e6:.1f} M weights, {self.width} dimensions, "
            f"{pooler} of up to {self.settings.max_length} tokens, {self.device}, {self.precision}{adapters})"
        )

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

    # adapters ------------------------------------------------------------------------------------------------------

    def add_adapter(self, name: str, path: str | Path, *, replace: bool = False) -> None:
        """Make a trained adapter ready under a name: one of ours, or a folder that peft or adapters saved.

        Args:
            name: what :meth:`encode` will call it.
            path: its folder, or a Hub id.
            replace: take the place of an adapter of that name in one step; calls that use it just now end on the old one.

        Raises:
            ModelError: the name is no text, or taken; the adapter is missing, truncated, for another base or pooler, or of a kind that
                cannot be served exactly.
        """
        if not isinstance(name, str) or not name:
            raise ModelError(f"an adapter is called by a text, not by {name!r}"[:200], hint="Write add_adapter('NAME', PATH).")
        folder = local_folder(path)
        record = light.record_of(folder)
        reading = self._own_reading()
        if record is not None:
            settings = adapter_settings(folder if light.is_adapter(folder) else folder.parent)
            self._check_record(record, settings, folder)
            slot = settings.normalizer if not settings.normalizer_in_tokenizer else None
            normalizer = _component(self._registry, Normalizer, slot) if slot else self._normalizer
            longest = encoders.longest_text(settings.max_length, self.tokenizer, self._module.model)
            reading = Reading(settings.prompt, normalizer, longest)
        else:
            logger.warning("the adapter %s states no base digest: only its shapes are checked against this base", folder)
        reads = [steady_reader(part) for part in parts_of(folder)]
        centroid = light.load_centroid(folder, self.width)
        self._ready_bank().add(name, *reads, reading=reading, centroid=centroid, replace=replace)

    def remove_adapter(self, name: str) -> None:
        """Forget an adapter; calls that use it just now end undisturbed.

        Raises:
            ModelError: there is none of that name, or a stack names it.
        """
        self._ready_bank().remove(name)

    def stack_adapters(self, name: str, members: Sequence[str]) -> None:
        """Name a sequence of adapters that are applied one after another in every module.

        Raises:
            ModelError: the name is taken, a member is unknown, or the members read texts differently (prompt, normalizer, length).
        """
        self._ready_bank().stack(name, members)

    @property
    def adapters(self) -> list[str]:
        """Names that :meth:`encode` knows."""
        return self._bank.names() if self._bank is not None else []

    def role(self, name: str) -> str | None:
        """The adapter of a role (``query``, ``document``), or the default where roles share one."""
        return name if name in self.roles else self.default_adapter

    def route(self, texts: Sequence[str], *, threshold: float = -1.0, batch_tokens: int = 4096) -> list[str | None]:
        """The adapter whose training texts are most like each text, by the base's vectors; None below `threshold`.

        Pass the answer to ``encode(adapter=…)``.  Nothing is routed unless this is called.

        Raises:
            ModelError: no adapter here has a centroid.
        """
        plain = self.encode(texts, adapter=[None] * len(texts), normalize=False, batch_tokens=batch_tokens)
        return choose(plain, self._ready_bank().centroids(), threshold)

    def _own_reading(self) -> Reading:
        return Reading(self.settings.prompt, self._normalizer, self.settings.max_length)

    def _ready_bank(self) -> AdapterBank:
        with self._adding:
            if self._bank is None:
                self._bank = AdapterBank(self._module.body, self._max_adapters)
            return self._bank

    def _check_record(self, record: light.AdapterRecord, settings: EncoderSettings, folder: Path) -> None:
        if record.roles and light.is_adapter(folder):
            raise ModelError(
                f"holds a module for each of {', '.join(record.roles)}", where=str(folder), hint=f"Name one: {folder / record.roles[0]}"
            )
        if _component(self._registry, Pooler, settings.pooler).slot() != _component(self._registry, Pooler, self.settings.pooler).slot():
            raise ModelError(
                f"the adapter was trained with the pooler {settings.pooler['use']}, the encoder has {self.settings.pooler['use']}",
                where=str(folder),
                hint=f"Load the base with pooler={_shown(settings.pooler)!r}.",
            )
        if self._folder is None:
            return
        with self._adding:
            self._digest = self._digest or weights_digest(self._loaded.checkpoint or self._folder)
        if record.base.digest != self._digest:
            known = record.base.origin or record.base.model_type
            raise ModelError(
                f"the adapter is for another base ({known}, digest {record.base.digest[:12]}…); this one has {self._digest[:12]}…",
                where=str(folder),
                hint="Load the base it was trained on.",
            )

    # encoding ------------------------------------------------------------------------------------------------------

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
        self._check(texts)
        if self.gives == "multi":
            raise ModelError(
                f"'{self.settings.pooler['use']}' gives a vector a token, and one a text is asked for",
                hint="Use encode_multi and compare by maxsim; or score it in a search.",
            )
        names = self._names(adapter, len(texts))
        if not len(texts):
            self.stats = EncodeStats(0, 0, 0)
            return np.zeros((0, self.width), dtype=np.float32)
        # The names are pinned before any text is prepared: whatever is added or removed meanwhile, one call reads its texts and
        # makes its vectors by one and the same adapter.
        with self._ready_bank().lease(names) if any(names) else nullcontext() as lease:
            ids, cut = self._tokens(texts, lease.readings if lease else [None] * len(texts))
            vectors = self._run(ids, batch_tokens, progress, lease)
        if self._output is not None:
            stored = self._output.apply(_units(vectors) if self.settings.normalize else vectors)
            vectors = stored if normalize is None else self._output.floats(stored)
            vectors = _units(vectors) if normalize else vectors
        elif normalize if normalize is not None else self.settings.normalize:
            vectors = _units(vectors)
        self.stats = EncodeStats(len(texts), sum(map(len, ids)), sum(cut.values()), tuple(sorted(cut)))
        if cut:
            limits = " or ".join(map(str, sorted(cut)))
            logger.warning("%d of %d texts are longer than %s tokens and were truncated", sum(cut.values()), len(texts), limits)
        return vectors

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
        self._check(texts)
        if self.gives != "multi":
            raise ModelError("this encoder gives one vector a text", hint="Use encode.")
        if self.default_adapter is not None:
            raise ModelError("adapters are not served by encoders that give a vector a token", hint="Merge it into its base first.")
        ids, cut = self._tokens(texts, [None] * len(texts))
        self.stats = EncodeStats(len(texts), sum(map(len, ids)), sum(cut.values()), tuple(sorted(cut)))
        found: list[np.ndarray] = [np.empty((0, self.width), dtype=np.float32)] * len(ids)
        groups = group_by_length([len(one) for one in ids], batch_tokens)
        device = self._module.device.type
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=self.precision == "bf16"):
            for group in _log(progress).track(groups, "encoding", len(groups)):
                vectors = self._module.embed([ids[i] for i in group], batch_tokens).float().cpu().numpy()
                for row, i in enumerate(group):
                    found[i] = vectors[row][np.abs(vectors[row]).sum(-1) > 0]
        empty = np.empty((0, self.width), dtype=np.float32)
        return MultiVectors(np.concatenate([*found, empty]), np.cumsum([len(one) for one in found], dtype=np.int64))

    def _tokens(self, texts: Sequence[str], readings: Sequence[Reading | None]) -> tuple[list[list[int]], dict[int, int]]:
        """Token ids of texts as their adapters read them, and how many texts were cut at which length."""
        own = self._own_reading()
        ids: list[list[int]] = [[] for _ in texts]
        places: dict[int, list[int]] = {}
        for i, reading in enumerate(readings):
            places.setdefault((reading or own).max_length, []).append(i)
        cut: dict[int, int] = {}
        for limit, rows in places.items():
            found, truncated = tokenize_texts(self.tokenizer, [(readings[i] or own).prepare(texts[i]) for i in rows], limit)
            if truncated:
                cut[limit] = truncated
            for i, one in zip(rows, found, strict=True):
                # A tokenizer without special tokens gives an empty text no token at all: one padding token stands in.
                ids[i] = one or [pad_id(self.tokenizer)]
        return ids, cut

    def _names(self, adapter: str | Sequence[str | None] | None, count: int) -> list[str | None]:
        """One adapter name, or None, for each text."""
        if adapter is None or isinstance(adapter, str):
            names: list[str | None] = [adapter or self.default_adapter] * count
        elif isinstance(adapter, Iterable):
            names = list(adapter)
        else:
            raise DataError(
                f"adapter is {type(adapter).__name__}, not a name or a list of names", hint="Give one name, or one for each text."
            )
        for i, name in enumerate(names):
            if name is not None and not isinstance(name, str):
                raise DataError(f"adapter {i} is {type(name).__name__}, not a name", hint="Give a name, or None for the base alone.")
        if len(names) != count:
            raise DataError(f"{len(names)} adapters are named for {count} texts", hint="Give one name, or one for each text.")
        return [name or None for name in names]

    def _run(self, ids: list[list[int]], batch_tokens: int, progress: bool | Log, lease: Lease | None) -> np.ndarray:
        vectors = np.empty((len(ids), self.width), dtype=np.float32)
        groups = group_by_length([len(found) for found in ids], batch_tokens)
        if getattr(self._module.model, "is_loaded_in_8bit", False):
            # Padding moves a state's last digit, which rounding to int8 makes a step of: no text is padded there.
            groups = [list(rows) for group in groups for _, rows in itertools.groupby(group, lambda i: len(ids[i]))]
        device = self._module.device.type
        training = self._module.training
        if training:  # an encoder in training is measured; one that serves threads is never touched
            self._module.eval()
        try:
            with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=self.precision == "bf16"):
                for group in _log(progress).track(groups, "encoding", len(groups)):
                    found = self._module.embed([ids[i] for i in group], batch_tokens, _rows(lease, group))
                    vectors[group] = found.float().cpu().numpy()
        finally:
            if training:
                self._module.train()
        return vectors

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
        if self.default_adapter is not None:
            raise ModelError("the layers of an encoder that speaks through an adapter cannot be read", hint="Merge it into its base first.")
        pad = pad_id(self.tokenizer)
        module = EncoderModule(self._module.model, LayerMean(layer=layer), pad, budget=self._module.budget, types=self._module.types)
        found = Encoder(self._loaded, module.eval(), self._normalizer, self.precision)
        found._layer = layer
        return found

    def masked_log_probabilities(
        self,
        ids: Sequence[Sequence[int]],
        positions: Sequence[Sequence[int]],
        goal: Sequence[int],
        *,
        batch_tokens: int = 4096,
        progress: bool | Log = False,
    ) -> np.ndarray:
        """(m,) natural log-probabilities of tokens at `positions` of sequences, sequence by sequence; `goal` are the m tokens.

        Raises:
            ModelError: the encoder has no masked-LM head.
        """
        if not self._loaded.has_mlm_head:
            raise ModelError("the encoder has no masked-LM head", hint="Score the base, or a stage that an MLM stage leaves.")
        groups = group_by_length([len(one) for one in ids], batch_tokens)
        starts = np.cumsum([0, *[len(places) for places in positions]])
        found = np.empty(int(starts[-1]), dtype=np.float32)
        wanted = np.asarray(goal)
        device = self._module.device.type
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=self.precision == "bf16"):
            for group in _log(progress).track(groups, "predicting tokens", len(groups)):
                states = self._module.masked_states([ids[i] for i in group], [positions[i] for i in group])
                rows = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in group])
                logits = self._module.mlm_logits(states).float().log_softmax(-1)
                chosen = torch.from_numpy(wanted[rows]).to(logits.device)
                found[rows] = logits.gather(1, chosen[:, None])[:, 0].cpu().numpy()
        return found

    def token_states(self, ids: Sequence[Sequence[int]], *, batch_tokens: int = 4096, progress: bool | Log = False) -> list[np.ndarray]:
        """States of the base's last layer (or of :meth:`at_layer`'s), without adapters: (T, d) float32 each, in order.

        The caller has cut the sequences to the encoder's maximum length.
        """
        groups = group_by_length([len(one) for one in ids], batch_tokens)
        found: list[np.ndarray] = [np.empty((0, 0), dtype=np.float32)] * len(ids)
        device = self._module.device.type
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=self.precision == "bf16"):
            for group in _log(progress).track(groups, "reading tokens", len(groups)):
                tokens, mask = self._module.pad([ids[i] for i in group])
                read = self._module.run(tokens, mask, frozenset() if self._layer is None else frozenset({"layers"}))
                last = read.last if self._layer is None or read.layers is None else read.layers[self._layer]
                states = last.float().cpu().numpy()
                for row, i in enumerate(group):
                    found[i] = states[row, : len(ids[i])].copy()
        return found

    @staticmethod
    def _check(texts: Sequence[str]) -> None:
        if isinstance(texts, str):
            raise DataError("encode() takes a list of texts, not one string", hint="Write encode([text]).")
        if not (hasattr(texts, "__len__") and hasattr(texts, "__getitem__")) or isinstance(texts, dict | bytes):
            raise DataError(
                f"encode() takes a list of texts, not {type(texts).__name__}",
                hint="Write encode(list(texts)): vectors come in the order of the texts.",
            )
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise DataError(f"text {i} is {type(text).__name__}, not a string")
            try:
                text.encode("utf-8")
            except UnicodeEncodeError as error:
                raise DataError(
                    f"text {i} has half of a surrogate pair at character {error.start + 1}, which is no Unicode text"
                ) from error


def _rows(lease: Lease | None, group: list[int]) -> Rows | None:
    """A lease's rows by their place in a group."""
    if lease is None:
        return None
    return lambda places: lease.rows([group[place] for place in places])


def _restored(registry: Registry | None, slot: dict[str, Any], arrays: dict[str, np.ndarray], folder: Path) -> Fitted:
    """What vectors are stored through.

    Raises:
        ModelError: the arrays beside the weights are none of this transform's.
    """
    try:
        if not all(bool(np.isfinite(one).all()) for one in arrays.values()):
            raise ValueError("a value is no number")
        return _component(registry, Transform, slot).restore(arrays)
    except (KeyError, ValueError, TypeError) as error:
        what = f"what its '{slot['use']}' was fitted to cannot be used: {error}"
        raise ModelError(what, where=str(folder / encoders.OUTPUT), hint="Copy the folder again.") from error


def _shown(slot: dict[str, Any]) -> Any:
    """A pooler as it is written: its name, with options as a slot."""
    return slot["use"] if len(slot) == 1 else slot


def _units(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, d) scaled to length one, in place."""
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors


def best_device() -> str:
    """``cuda``, ``mps`` or ``cpu``."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def local_folder(source: str | Path) -> Path:
    """A folder as it is, or a Hub id's files on this machine.

    Raises:
        ModelError: no such folder.
        DataError: the Hub cannot be reached or has no such repository.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if isinstance(source, Path) or source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise ModelError("there is no such folder", where=str(source), hint="Give a release folder or a Hub id.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, allow_patterns=CHECKPOINT_FILES, ignore_patterns=["onnx/*", "openvino/*"]))
    except Exception as error:
        raise hub_error(None, source, error) from error


def _component(registry: Registry | None, contract: type[C], slot: dict[str, Any]) -> C:
    """A component from its slot; without a registry, the core's own poolers need no plugin to be loaded."""
    own: dict[str, type[Component]] = {"mean": Mean, "cls": Cls}
    if registry is None and contract is Pooler and list(slot) == ["use"] and slot["use"] in own:
        return own[slot["use"]]()  # type: ignore[return-value]
    if registry is None:
        from langadapt.registry.plugins import load_plugins
        from langadapt.registry.registry import Registry as Loaded

        registry = Loaded(load_plugins())
    return registry.make(contract, slot)


def _log(progress: bool | Log) -> Log:
    if progress is False:
        return SilentLog()
    if progress is True:
        from langadapt.progress import ConsoleLog

        return ConsoleLog()
    return progress
