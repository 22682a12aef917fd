"""EncoderModule: a transformer body, its pooler and transforms, and forward passes without padding waste."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from pydantic import ConfigDict, Field
from torch import nn

from langadapt.modeling.batching import group_by_length
from langadapt.modeling.framing import Frame
from langadapt.modeling.heads import mlm_logits

if TYPE_CHECKING:
    from transformers import PreTrainedModel


Rows = Callable[[Sequence[int]], contextlib.AbstractContextManager[None]]


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
    prompts: dict[str, str] = field(default_factory=dict)
    """Further texts by name (``query``, ``passage``) that a user of the encoder may put before a sentence."""

    def with_(self, **changes: Any) -> EncoderSettings:
        return replace(self, **changes)


class EncoderModule(nn.Module):
    """Body, pooler and fitted transforms as one module.

    Args:
        model: a transformers encoder, with or without a masked-LM head.
        pooler: a component of kind pooler.
        pad_id: id of the padding token.
        transforms: affine maps applied to pooled vectors, in order: (weight (d', d), bias (d',)).
        budget: padded tokens in one forward pass.
        types: the frame whose token types the model is given, where it is given any.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        pooler: Any,
        pad_id: int,
        transforms: Sequence[tuple[torch.Tensor, torch.Tensor]] = (),
        budget: int = 4096,
        types: Frame | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.pooler = pooler
        self.pad_id = pad_id
        self.budget = budget
        self.types = types
        self.transforms = nn.ModuleList(_linear(weight, bias) for weight, bias in transforms)
        self.gather: Callable[[torch.Tensor], torch.Tensor] = _same
        self.activate: Callable[[str], None] | None = None
        """Switches to the light module of a role (``query``, ``document``), where the adaptation has one for each."""

    @property
    def body(self) -> PreTrainedModel:
        """The transformer without its head."""
        return self.model.base_model  # type: ignore[no-any-return]

    @property
    def width(self) -> int:
        """d of the vectors that :meth:`embed` returns."""
        if len(self.transforms):
            return int(self.transforms[-1].out_features)  # type: ignore[arg-type]
        return int(self.model.config.hidden_size)

    @property
    def device(self) -> torch.device:
        return next(iter(self.model.parameters())).device  # type: ignore[no-any-return]

    def pad(self, sequences: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and mask, both (B, T) int64, padded on the right."""
        longest = max(len(ids) for ids in sequences)
        ids = torch.full((len(sequences), longest), self.pad_id, dtype=torch.int64)
        mask = torch.zeros((len(sequences), longest), dtype=torch.int64)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.int64)
            mask[row, : len(sequence)] = 1
        return ids.to(self.device), mask.to(self.device)

    def hidden(self, ids: torch.Tensor, mask: torch.Tensor, all_layers: bool = False) -> tuple[torch.Tensor, ...]:
        """States of the body: L+1 tensors (B, T, d), or the last one alone."""
        # A full mask is left out: attention then takes its fast path.
        attention = None if bool(mask.all()) else mask
        types = {"token_type_ids": self._types(mask)} if self.types is not None else {}
        out = self.body(input_ids=ids, attention_mask=attention, output_hidden_states=all_layers, **types)
        return tuple(out.hidden_states) if all_layers else (out.last_hidden_state,)

    def _types(self, mask: torch.Tensor) -> torch.Tensor:
        """Token types (B, T) int64 of rows padded on the right."""
        assert self.types is not None
        found = torch.zeros_like(mask)
        if any((*self.types.opening_types, *self.types.closing_types, self.types.inner_type)):
            for row, length in enumerate(mask.sum(1).tolist()):
                found[row, :length] = torch.tensor(self.types.types(length), device=mask.device)
        return found

    def embed(self, sequences: Sequence[Sequence[int]], budget: int | None = None, rows: Rows | None = None) -> torch.Tensor:
        """Vectors (n, d) float32 of token-id sequences, in order, transforms applied.

        Sequences are padded together with others of similar length, at most `budget` padded tokens at a time (None: the module's).
        `rows` is entered around each forward pass with the indices of its sequences (the adapter bank listens there).
        """
        groups = group_by_length([len(ids) for ids in sequences], budget or self.budget)
        vectors = []
        for group in groups:
            ids, mask = self.pad([sequences[i] for i in group])
            with rows(group) if rows else contextlib.nullcontext():
                layers = self.hidden(ids, mask, all_layers=getattr(self.pooler, "all_layers", False))
            vectors.append(self.pooler.pool(layers, mask))
        stacked = torch.cat(vectors)
        order = torch.tensor([i for group in groups for i in group], device=stacked.device)
        restored = torch.empty_like(stacked).index_copy(0, order, stacked)
        for transform in self.transforms:
            restored = transform(restored)
        return restored

    def embed_as(self, role: str, sequences: Sequence[Sequence[int]]) -> torch.Tensor:
        """Vectors (n, d) under the module of a role; without roles, plain :meth:`embed`."""
        if self.activate is not None:
            self.activate(role)
        return self.embed(sequences)

    def masked_states(self, sequences: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]) -> torch.Tensor:
        """Last-layer states at `positions` of each sequence: (m, d), sequence by sequence in order."""
        groups = group_by_length([len(ids) for ids in sequences], self.budget)
        starts = _offsets([len(places) for places in positions])
        states: list[torch.Tensor] = []
        order: list[int] = []
        for group in groups:
            ids, mask = self.pad([sequences[i] for i in group])
            (last,) = self.hidden(ids, mask)
            rows = [row for row, i in enumerate(group) for _ in positions[i]]
            columns = [place for i in group for place in positions[i]]
            states.append(last[rows, columns])
            order += [starts[i] + k for i in group for k in range(len(positions[i]))]
        stacked = torch.cat(states)
        return torch.empty_like(stacked).index_copy(0, torch.tensor(order, device=stacked.device), stacked)

    def mlm_logits(self, states: torch.Tensor) -> torch.Tensor:
        """Vocabulary logits (m, V) of states (m, d)."""
        return mlm_logits(self.model, states)


def _same(tensor: torch.Tensor) -> torch.Tensor:
    """`gather` of a single process."""
    return tensor


def _offsets(counts: Sequence[int]) -> list[int]:
    starts, total = [], 0
    for count in counts:
        starts.append(total)
        total += count
    return starts


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer.requires_grad_(False)
