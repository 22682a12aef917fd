"""Encoders as components meet them: before their weights exist, in training, and ready for use.

Letters in shapes: B batch, T tokens, L layers, d width, n texts, V vocabulary, m chosen positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol, runtime_checkable

from pydantic import ConfigDict, Field

from langadapt.contracts.component import Log

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Sequences = Sequence[Sequence[int]]
"""Token ids of texts, special ones included."""


@dataclass(frozen=True)
class EncoderSpec:
    """What a component may know of an encoder before it makes weights of its own."""

    architecture: str
    """``model_type`` of the configuration."""
    width: int
    """d of the body's states."""
    layers: int
    heads: int
    vocabulary: int
    """Rows of the input embeddings."""
    pad_id: int
    config: Any = None
    """The library's own configuration, for components that make a second model like it."""
    output_width: int = 0
    """d of the vectors that the encoder gives, after its pooler and transforms; 0 while it has no pooler."""


@dataclass(frozen=True)
class States:
    """What a body gives for a padded batch.  What a pooler has not asked for (`needs`) is None."""

    last: torch.Tensor
    """(B, T, d) states of the last layer."""
    mask: torch.Tensor
    """(B, T) int64, 1 on real tokens; padding stands on the right."""
    ids: torch.Tensor
    """(B, T) int64 token ids."""
    layers: tuple[torch.Tensor, ...] | None = None
    """L+1 states (B, T, d), the input embeddings' first."""
    attentions: tuple[torch.Tensor, ...] | None = None
    """L attention maps (B, heads, T, T); a row says how much its token looks at each other."""


@dataclass(frozen=True)
class EncoderSettings:
    """How vectors are made from states; travels with the weights.  The annotations are the schema of ``encoder.json``."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    pooler: dict[str, Any] = field(default_factory=lambda: {"use": "mean"})
    max_length: Annotated[int, Field(ge=0, le=10_000_000)] = 128
    """Tokens per text, special ones included; 0 in a folder that states none, until its weights and tokenizer say it."""
    prompt: str = ""
    """Text put before every sentence."""
    normalizer: dict[str, Any] | None = None
    """Slot of the normalizer that training texts went through."""
    normalizer_in_tokenizer: bool = False
    """True in a release whose tokenizer applies the normalizer's rules itself."""
    normalize: bool = False
    """Scale vectors to length one at inference."""
    transforms: Annotated[int, Field(ge=0, le=100)] = 0
    """Affine transforms saved beside the weights."""
    embedding: dict[str, Any] | None = None
    """Slot of what computes the input rows from tokens' spellings; None where they are a matrix that is learnt."""
    output: dict[str, Any] | None = None
    """Slot of a transform that vectors are stored through (8-bit integers); what it was fitted to lies beside the weights."""
    prompts: dict[str, str] = field(default_factory=dict)
    """Further texts by name (``query``, ``passage``) that a user of the encoder may put before a sentence."""

    def with_(self, **changes: Any) -> EncoderSettings:
        return replace(self, **changes)


class TrainableScorer(Protocol):
    """A model that reads pairs, as an objective calls it."""

    budget: int

    def score(self, left: Sequences, right: Sequences, budget: int | None = None) -> torch.Tensor:
        """Logits (n,) float32 of pairs of texts, in order."""


@runtime_checkable
class Embeds(Protocol):
    """An encoder ready for use, ours or not, as evaluators, selectors and annotators see it."""

    @property
    def settings(self) -> EncoderSettings:
        """Pooler, maximum length, prompt, normalizer."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The fast tokenizer."""

    @property
    def width(self) -> int:
        """d of the vectors."""

    def role(self, name: str) -> str | None:
        """The adapter of a role (``query``, ``document``), or the default where roles share one."""

    def encode(
        self,
        texts: Sequence[str],
        *,
        adapter: str | Sequence[str | None] | None = None,
        batch_tokens: int = 4096,
        progress: bool | Log = False,
        normalize: bool | None = None,
    ) -> np.ndarray:
        """Vectors of texts, in order: (n, d) float32.

        Raises:
            DataError: something that is no text.
            ModelError: unknown adapters.
        """

    @property
    def gives(self) -> str:
        """``dense``, or ``multi`` for an encoder that gives a vector a token (:meth:`encode_multi`)."""

    def encode_multi(self, texts: Sequence[str], *, batch_tokens: int = 4096, progress: bool | Log = False) -> Any:
        """:class:`~langadapt.contracts.MultiVectors` of texts.  Raises ModelError where the encoder gives one vector a text."""

    def token_states(self, ids: Sequences, *, batch_tokens: int = 4096, progress: bool | Log = False) -> list[np.ndarray]:
        """Last-layer states for token ids that the tokenizer made: (T, d) float32 each, in order."""

    @property
    def layers(self) -> int:
        """Layers of the body."""

    def at_layer(self, layer: int) -> Embeds:
        """The same encoder, its vectors the mean over tokens of one layer's states; 0 is the embeddings."""

    def every_layer(self) -> Embeds:
        """The same encoder, its vectors those of :meth:`at_layer` of all layers, one behind the other: (layers + 1) × d, in one pass."""

    def masked_log_probabilities(
        self, ids: Sequences, positions: Sequences, goal: Sequence[int] | None, *, batch_tokens: int = 4096, progress: bool | Log = False
    ) -> np.ndarray:
        """(m,) natural log-probabilities of the tokens `goal` at `positions` of sequences, in order; (m, V) of all tokens where it is None.

        Raises:
            ModelError: the encoder has no masked-LM head.
        """

    def trainable_copy(self) -> TrainableEncoder:
        """A copy to train, every weight free.  Raises ModelError where there are no weights of its own to train."""


@runtime_checkable
class Scores(Protocol):
    """A model that reads two texts at once and says how they belong together: a cross-encoder."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The fast tokenizer."""

    def score(self, pairs: Sequence[tuple[str, str]], *, batch_tokens: int = 4096, progress: bool | Log = False) -> np.ndarray:
        """A score a pair, in order: (n,) float32, higher for pairs that belong together.

        Raises:
            DataError: something that is no text.
        """


class TrainableEncoder(Protocol):
    """Body, pooler and transforms as one module, as an objective calls it; padding and grouping are its own business."""

    model: PreTrainedModel
    pad_id: int
    budget: int
    """Padded tokens in one forward pass."""
    gather: Callable[[torch.Tensor], torch.Tensor]
    """Rows (n, d) of all processes, in their order; its gradient reaches them all."""
    activate: Callable[[str], None] | None
    """Switches to the light module of a role (``query``, ``document``), where the adaptation has one for each."""

    @property
    def width(self) -> int:
        """d of the vectors that :meth:`embed` returns."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    def embed(self, sequences: Sequences, budget: int | None = None) -> torch.Tensor:
        """Vectors (n, d) float32, in order, transforms applied; `budget` is the padded tokens of one forward pass."""

    def embed_as(self, role: str, sequences: Sequences) -> torch.Tensor:
        """Vectors (n, d) under the module of a role; without roles, plain :meth:`embed`."""

    def masked_states(self, sequences: Sequences, positions: Sequences) -> torch.Tensor:
        """Last-layer states at `positions` of each sequence: (m, d), sequence by sequence in order."""

    def mlm_logits(self, states: torch.Tensor) -> torch.Tensor:
        """Vocabulary logits (m, V) of states (m, d)."""

    def states(self, sequences: Sequences, needs: frozenset[Any] = frozenset()) -> States:
        """States of sequences padded together, in order; `needs` as a pooler's."""

    def pad(self, sequences: Sequences) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and mask, both (B, T) int64, padded on the right."""

    def run(self, ids: torch.Tensor, mask: torch.Tensor, needs: frozenset[Any] = frozenset()) -> States:
        """States of padded ids (B, T) and their mask."""

    def pair_states(self, left: Sequences, right: Sequences) -> States:
        """States of pairs of texts that are read together, framed and typed as the tokenizer frames pairs.

        Raises:
            ModelError: the tokenizer puts nothing between two texts.
        """

    def eval(self) -> nn.Module:
        """Switch dropout off."""
