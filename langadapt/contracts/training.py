"""Objectives, adaptations, optimisers, schedules and samplers: what the training loop is put together from.

Letters in shapes: B batch, T tokens, d width, n texts, V vocabulary.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, cast

from langadapt.contracts.component import Component
from langadapt.contracts.data import Columns, Role
from langadapt.contracts.encoder import EncoderSpec, TrainableEncoder, TrainableScorer

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import torch
    from datasets import Dataset
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Row = dict[str, Any]
"""A row of training data: texts are lists of token ids, lists of texts are lists of those, the rest is as it was read."""

WORDS = ".words"
"""Ends the name of the column with each token's word, (T,) int64, -1 for special tokens; there when an objective asks for words."""


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
class Models:
    """What a loss is computed with."""

    encoder: TrainableEncoder
    """The one that is trained."""
    head: Any = None
    """What the objective's `build` made, or None."""
    teacher: TrainableEncoder | None = None
    """Frozen, without dropout; there where the objective `needs_teacher`."""

    @property
    def scorer(self) -> TrainableScorer:
        """The one that is trained, for an objective that `leaves` a scorer."""
        return cast("TrainableScorer", self.encoder)


class Objective(Component):
    """kind ``objective``: collator and loss.  Keeps nothing: what must last from step to step is a weight or a buffer of its head."""

    kind: ClassVar[str] = "objective"
    columns: ClassVar[tuple[Columns, ...]]
    """Sets of columns it can train on, best first."""
    prepared: ClassVar[Columns] = {}
    """Columns that `prepare` makes beside those of `columns`."""
    separable: ClassVar[bool] = True
    """True when rows do not see each other, so a batch may be cut into micro-batches."""
    leaves: ClassVar[Literal["Encoder", "Scorer"]] = "Encoder"
    """What its training makes of an encoder: an encoder, or a scorer that reads pairs."""
    needs_mlm_head: ClassVar[bool] = False
    needs_teacher: ClassVar[bool] = False
    """True when the loss asks a second encoder at every step (``teacher``)."""
    long_texts: ClassVar[Literal["truncate", "split"]] = "truncate"
    """What happens to a text longer than the encoder's maximum."""

    def prepare(self, data: Dataset) -> Dataset:
        """Check and reshape the columns.  Raises DataError when the rows cannot teach anything."""
        have = set(data.column_names)
        return data.select_columns(list(next(one for one in self.columns if set(one) <= have)))

    def roles(self) -> dict[str, Role]:
        """What each column that it may read is."""
        return {name: role for one in (*self.columns, self.prepared) for name, role in one.items()}

    def word_ends(self) -> Callable[[str], list[int]] | None:
        """How the words of a text are told apart when it is tokenised; None for an objective that asks for no words."""
        return None

    def build(self, spec: EncoderSpec, teacher: EncoderSpec | None = None) -> nn.Module | None:
        """Weights and buffers that only training needs; checkpoints hold both.

        Args:
            teacher: of the second encoder, where there is one.
        """
        return None

    @abstractmethod
    def collate(self, rows: list[Row], tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator, head: Any = None) -> Batch:
        """Tokenised rows → one batch.  `head` is what `build` made: buffers in it are the objective's memory."""

    @abstractmethod
    def loss(self, models: Models, batch: Batch, step: int) -> Loss:
        """The sum of the batch's terms, differentiable."""


class Adaptation(Component):
    """kind ``adaptation``: decides which weights train."""

    kind: ClassVar[str] = "adaptation"
    mergeable: ClassVar[bool] = True
    """True when the result can be written as one plain checkpoint."""
    light: ClassVar[bool] = False
    """True for a :class:`LightAdaptation`."""

    @property
    def new_rows(self) -> bool:
        """Whether the rows of new tokens alone are to train: only the stage knows which they are."""
        return False

    @abstractmethod
    def attach(self, model: PreTrainedModel) -> None:
        """Mark the trainable weights (``requires_grad``) and add modules if the method has any."""


class LightAdaptation(Adaptation):
    """An adaptation whose few weights are saved alone, beside a base that stays as it is.

    Its files are its library's own (``adapter_config.json`` and safetensors); serving and merging are the core's work.
    """

    light: ClassVar[bool] = True
    library: ClassVar[str]
    """``peft`` or ``adapters``."""
    roles: ClassVar[tuple[str, ...]] = ()
    """Names of its modules, where each side of a pair has its own (``query``, ``document``)."""
    quantization: ClassVar[str | None] = None
    """How the base's weights are held: ``8bit``, ``4bit``, or None as they are."""

    def load_options(self, device: str) -> dict[str, Any]:
        """Keywords of ``from_pretrained`` for the base (a quantisation), or none."""
        return {}

    def check_base(self, digest: str) -> None:
        """Called before training with the digest of the base's weights, for methods that stand on other trained adapters.

        Raises:
            ModelError: one of them was trained on another base.
        """

    def activate(self, model: PreTrainedModel, role: str) -> None:
        """Let the module of one of the `roles` act."""
        raise NotImplementedError(f"'{self.name}' has no roles")

    @abstractmethod
    def save(self, model: PreTrainedModel, folder: Path) -> None:
        """Write the adapter's files; an adaptation with `roles` writes a subfolder for each."""

    @abstractmethod
    def load(self, model: PreTrainedModel, folder: Path) -> None:
        """Attach with saved weights, active and trainable."""


class Optimizer(Component):
    """kind ``optimizer``: how gradients become steps."""

    kind: ClassVar[str] = "optimizer"

    @abstractmethod
    def build(self, groups: list[dict[str, Any]], learning_rate: float) -> torch.optim.Optimizer:
        """An optimiser over parameter groups that carry their own ``weight_decay``."""


class Schedule(Component):
    """kind ``schedule``: the learning rate over time."""

    kind: ClassVar[str] = "schedule"

    @abstractmethod
    def factor(self, step: int, steps: int, warmup: int) -> float:
        """Multiplier of the learning rate at 0-based `step` of `steps`."""


class RowsView(Protocol):
    """Tokenised rows as a sampler sees them."""

    def __len__(self) -> int:
        """How many there are."""

    def lengths(self) -> np.ndarray:
        """Tokens of each row, over all its texts: (n,)."""

    def texts_of(self, row: int) -> list[tuple[int, ...]]:
        """A row's texts as token ids."""

    def values(self, column: str) -> list[Any]:
        """A column that holds no text.  Raises KeyError where there is none of that name."""


class Sampler(Component):
    """kind ``sampler``: which rows share a batch, and in which order batches come."""

    kind: ClassVar[str] = "sampler"

    def reads(self) -> tuple[str, ...]:
        """Columns of the data that it looks at, beside the objective's."""
        return ()

    @abstractmethod
    def order(self, rows: RowsView, batch_size: int, epoch: int, seed: int) -> np.ndarray:
        """(n,) every row's number once: each run of `batch_size` of them is a batch, the last one may be short."""


class Merger(Component):
    """kind ``merger``: several encoders of one shape become one."""

    kind: ClassVar[str] = "merger"

    @abstractmethod
    def merge(self, weights: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """The merged weights.

        Args:
            weights: of each encoder, by name; names and shapes agree.

        Raises:
            ModelError: the method cannot merge so many.
        """
