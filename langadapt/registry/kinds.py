"""The kinds of component and the methods each must have.

Letters in shapes: B batch, T tokens, L layers, d width, n texts, V vocabulary, m masked positions.
These protocols are the contract a plugin author reads; :data:`KINDS` is what the registry checks a class against.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from langadapt.modeling.vocab import Mixture, Vocab
from langadapt.registry.component import Context

if TYPE_CHECKING:
    import numpy as np
    import torch
    from datasets import Dataset
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from langadapt.inference.encoder import Encoder
    from langadapt.modeling.encoder import EncoderModule, EncoderSettings


@dataclass(frozen=True)
class Document:
    """One unit of running text and where it came from (``file:line``)."""

    text: str
    origin: str = ""


@dataclass(frozen=True)
class Translation:
    """One translated sentence, the engine's own score (higher is better) and its count of unknown words, if it has them."""

    text: str
    score: float | None = None
    unknown: int | None = None


@dataclass(frozen=True)
class Offer:
    """What a translator can do for one pair of languages on this machine."""

    name: str
    """The engine or model that would serve the pair, for people: ``apertium en-gl``."""
    ready: bool
    needs: str = ""
    """What to install or give first; empty when it is ready."""
    licence: str = "not stated"
    """Of the engine or its weights, as published."""
    binding: bool = True
    """False where the licence covers the program alone and says nothing of what it translates."""
    fingerprint: str = ""
    """Identity of the engine's data (model bytes, compiled dictionaries): the same one gives the same translations."""


@dataclass(frozen=True)
class Batch:
    """What an objective's `collate` hands to its `loss`.

    `sequences` are token-id lists, `count` the number of terms the loss sums over in this batch (masked
    tokens, pairs), `extra` whatever else the loss needs.
    """

    sequences: list[list[int]]
    count: int
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Loss:
    """`total`: scalar tensor, the *sum* of the batch's terms; `metrics`: sums of figures worth showing."""

    total: torch.Tensor
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """One figure of one task with its 95 % interval.  `value`, `low`, `high` are in `unit`; n counts items."""

    task: str
    metric: str
    value: float
    low: float | None
    high: float | None
    n: int
    unit: str = "×100"
    higher_is_better: bool = True
    resampled: Any = field(default=None, compare=False, repr=False)
    """(samples,) the value on bootstrap samples of the items, the same samples for every encoder; for paired differences."""


class CorpusReader(Protocol):
    """kind ``corpus``: running text."""

    def documents(self, ctx: Context) -> Iterator[Document]:
        """Yield documents in a fixed order.  Raises DataError naming file and line on bad input."""


class Normalizer(Protocol):
    """kind ``normalizer``: one spelling for one text, in training and at inference alike."""

    def normalize(self, text: str) -> str:
        """Pure and idempotent."""

    def fast(self) -> Any | None:
        """The same rules as a ``tokenizers`` normalizer to bake into the release, or None if inexpressible."""


class PairReader(Protocol):
    """kind ``pairs``: sentence pairs."""

    columns: ClassVar[tuple[str, ...]]
    """Columns of the rows it yields, one of the standard sets."""

    def pairs(self, translator: Translator | None, ctx: Context) -> Iterator[dict[str, Any]]:
        """Yield rows in a fixed order."""


class Translator(Protocol):
    """kind ``translator``: a machine-translation engine.  Language codes are BCP 47."""

    def offer(self, source: str, target: str) -> Offer:
        """Whether and how it serves a pair here; cheap, loads no model.  Raises nothing for a pair it cannot serve."""

    def translate(self, texts: list[str], source: str, target: str, ctx: Context) -> Iterator[tuple[int, Translation]]:
        """(place in `texts`, translation), each as soon as it is known, in the engine's own order, every place once.

        Raises:
            DataError: the engine is absent, died, hung, or did not answer for every text.
        """


class Selector(Protocol):
    """kind ``selector``: drops or reorders rows."""

    def select(self, rows: Dataset, encoder: Encoder | None, ctx: Context) -> Dataset:
        """Rows kept.  Says through ``ctx.log`` how many it dropped and why."""


class TokenizerTrainer(Protocol):
    """kind ``tokenizer``: trains, extends or prunes a tokenizer."""

    def train(self, texts: Iterable[str], base: PreTrainedTokenizerFast | None, ctx: Context) -> PreTrainedTokenizerFast:
        """A fast tokenizer with special tokens and post-processing in place; the same bytes for the same texts.

        `texts` can be walked more than once.
        """


class VocabInit(Protocol):
    """kind ``vocab-init``: proposes where new embedding rows come from; the core alone applies it."""

    def mixture(self, old: Vocab, new: Vocab, texts: Iterable[str] | None, ctx: Context) -> Mixture:
        """One row per new token."""


class Adaptation(Protocol):
    """kind ``adaptation``: decides which weights train."""

    mergeable: ClassVar[bool]
    """True when the result can be written as one plain checkpoint."""

    def attach(self, model: PreTrainedModel) -> None:
        """Mark the trainable weights (``requires_grad``) and add modules if the method has any."""


class LightAdaptation(Adaptation, Protocol):
    """An adaptation whose few weights are saved alone, beside a base that stays as it is.

    Its files are its library's own (``adapter_config.json`` and safetensors); serving and merging are the core's work.  One that stands
    on other trained adapters also has ``check_base(digest: str)``, called before training with the digest of the base's weights: it
    raises ModelError where one of them was trained on another base.
    """

    light: ClassVar[bool]
    """True: the core looks for this before it calls the methods below."""
    library: ClassVar[str]
    """``peft`` or ``adapters``."""

    def load_options(self, device: str) -> dict[str, Any]:
        """Keywords of ``from_pretrained`` for the base (a quantisation), or none."""

    def save(self, model: PreTrainedModel, folder: Path) -> None:
        """Write the adapter's files; an adaptation with `roles` writes a subfolder for each."""

    def load(self, model: PreTrainedModel, folder: Path) -> None:
        """Attach with saved weights, active and trainable."""


class Optimizer(Protocol):
    """kind ``optimizer``: how gradients become steps."""

    def build(self, groups: list[dict[str, Any]], learning_rate: float) -> torch.optim.Optimizer:
        """An optimiser over parameter groups that carry their own ``weight_decay``."""


class Objective(Protocol):
    """kind ``objective``: collator and loss.  Gets the encoder per call and keeps nothing."""

    columns: ClassVar[tuple[tuple[str, ...], ...]]
    """Sets of columns it can train on, best first."""
    separable: ClassVar[bool]
    """True when rows do not see each other, so a batch may be cut into micro-batches."""
    needs_mlm_head: ClassVar[bool]
    long_texts: ClassVar[str]
    """``truncate`` or ``split``: what happens to a text longer than the encoder's maximum."""

    def prepare(self, data: Dataset) -> Dataset:
        """Check and reshape the columns.  Raises DataError when a column is missing."""

    def head(self, width: int) -> nn.Module | None:
        """Weights that only training needs, or None."""

    def collate(self, rows: list[dict[str, Any]], tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator) -> Batch:
        """Rows whose text columns are already token-id lists → one batch."""

    def loss(self, encoder: EncoderModule, head: nn.Module | None, batch: Batch, step: int) -> Loss:
        """The sum of the batch's terms, differentiable."""


class Pooler(Protocol):
    """kind ``pooler``: token states to one vector."""

    sentence_transformers: ClassVar[str | None]
    """Name of the same pooling in sentence-transformers (``mean``, ``cls``), or None."""

    def pool(self, hidden: tuple[torch.Tensor, ...], mask: torch.Tensor) -> torch.Tensor:
        """L+1 states of shape (B, T, d) and a mask (B, T) → (B, d)."""


class Transform(Protocol):
    """kind ``transform``: fitted on vectors, shipped in the release."""

    def fit(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, d) float32 → (weight (d', d), bias (d',)): an affine map ``v @ weight.T + bias``."""


class Schedule(Protocol):
    """kind ``schedule``: the learning rate over time."""

    def factor(self, step: int, steps: int, warmup: int) -> float:
        """Multiplier of the learning rate at 0-based `step` of `steps`."""


class Evaluator(Protocol):
    """kind ``evaluator``: an encoder in, scores with intervals out."""

    def evaluate(self, encoder: Encoder, ctx: Context) -> list[Score]:
        """Deterministic for one encoder and seed."""


class Exporter(Protocol):
    """kind ``exporter``: writes one loadable form of an encoder into the release."""

    def export(self, encoder: EncoderModule, tokenizer: PreTrainedTokenizerFast, settings: EncoderSettings, folder: Path) -> None:
        """Write files into `folder`; must not write README.md, scores.json or provenance.json."""


class Source(Protocol):
    """kind ``source``: a resource carried by a package (a converted checkpoint, generated pairs)."""

    def fingerprint(self) -> str:
        """Content identity, known without producing the content; part of cache keys."""

    def fetch(self, folder: Path) -> None:
        """Write the resource's files into an empty folder."""


@dataclass(frozen=True)
class Kind:
    """A kind's protocol and the methods a component of it must define."""

    protocol: type
    methods: tuple[str, ...]
    light: tuple[str, ...] = ()
    """Methods that one with ``light = True`` must define as well."""


__all__ = ["KINDS", "Batch", "Document", "Loss", "Mixture", "Offer", "Score", "Translation", "Vocab"]

KINDS: dict[str, Kind] = {
    "corpus": Kind(CorpusReader, ("documents",)),
    "normalizer": Kind(Normalizer, ("normalize", "fast")),
    "pairs": Kind(PairReader, ("pairs",)),
    "translator": Kind(Translator, ("offer", "translate")),
    "selector": Kind(Selector, ("select",)),
    "tokenizer": Kind(TokenizerTrainer, ("train",)),
    "vocab-init": Kind(VocabInit, ("mixture",)),
    "adaptation": Kind(Adaptation, ("attach",), ("load_options", "save", "load")),
    "optimizer": Kind(Optimizer, ("build",)),
    "objective": Kind(Objective, ("prepare", "head", "collate", "loss")),
    "pooler": Kind(Pooler, ("pool",)),
    "transform": Kind(Transform, ("fit",)),
    "schedule": Kind(Schedule, ("factor",)),
    "evaluator": Kind(Evaluator, ("evaluate",)),
    "exporter": Kind(Exporter, ("export",)),
    "source": Kind(Source, ("fingerprint", "fetch")),
}
