"""EncoderModule: a transformer body, its pooler and transforms, and forward passes without padding waste."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from langadapt.contracts.encoder import EncoderSpec, Sequences, States
from langadapt.contracts.vectors import Pooler
from langadapt.errors import ModelError
from langadapt.modeling.batching import group_by_length
from langadapt.modeling.framing import Frame, PairFrame
from langadapt.modeling.heads import mlm_logits

if TYPE_CHECKING:
    from transformers import PreTrainedModel


Rows = Callable[[Sequence[int]], contextlib.AbstractContextManager[None]]


def spec_of(model: PreTrainedModel, pad_id: int) -> EncoderSpec:
    """What components may know of a body before they make weights for it."""
    config = model.config
    return EncoderSpec(
        architecture=str(config.model_type),
        width=int(config.hidden_size),
        layers=int(getattr(config, "num_hidden_layers", 0)),
        heads=int(getattr(config, "num_attention_heads", 0)),
        vocabulary=int(model.get_input_embeddings().weight.shape[0]),  # type: ignore[union-attr,operator]
        pad_id=pad_id,
        config=config,
    )


def padded(sequences: Sequences, fill: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers and mask, both (B, T) int64, filled up on the right."""
    longest = max(len(numbers) for numbers in sequences)
    found = torch.full((len(sequences), longest), fill, dtype=torch.int64)
    mask = torch.zeros((len(sequences), longest), dtype=torch.int64)
    for row, sequence in enumerate(sequences):
        found[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.int64)
        mask[row, : len(sequence)] = 1
    return found, mask


def pair_types(model: PreTrainedModel, kinds: Sequences) -> torch.Tensor:
    """Token types (B, T) of pairs, of which a model that knows one type alone is given that one."""
    rows = int(getattr(model.config, "type_vocab_size", 2))
    return padded(kinds, 0)[0].clamp(max=max(0, rows - 1))


class EncoderModule(nn.Module):
    """Body, pooler and fitted transforms as one module.

    Args:
        model: a transformers encoder, with or without a masked-LM head.
        pooler: a component of kind pooler.
        pad_id: id of the padding token.
        transforms: affine maps applied to pooled vectors, in order: (weight (d', d), bias (d',)).
        budget: padded tokens in one forward pass.
        types: the frame whose token types the model is given, where it is given any.
        pairs: how the tokenizer frames two texts, found when it is asked for.
        max_length: tokens of a text or a pair.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        pooler: Pooler,
        pad_id: int,
        transforms: Sequence[tuple[torch.Tensor, torch.Tensor]] = (),
        budget: int = 4096,
        types: Frame | None = None,
        pairs: Callable[[], PairFrame] | None = None,
        max_length: int = 512,
    ) -> None:
        super().__init__()
        self.model = model
        self.pooler = pooler
        self.pad_id = pad_id
        pooler.width(self.spec)  # refuses a body that has not what the pooler needs
        self.pooling = pooler.build(self.spec)
        self.budget = budget
        self.types = types
        self._pairs, self.max_length = pairs, max_length
        self.transforms = nn.ModuleList(_linear(weight, bias) for weight, bias in transforms)
        self.gather: Callable[[torch.Tensor], torch.Tensor] = own_rows
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
        return self.pooler.width(self.spec)

    @property
    def spec(self) -> EncoderSpec:
        """Of the body."""
        return spec_of(self.model, self.pad_id)

    @property
    def device(self) -> torch.device:
        return next(iter(self.model.parameters())).device  # type: ignore[no-any-return]

    def pad(self, sequences: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and mask, both (B, T) int64, padded on the right."""
        ids, mask = padded(sequences, self.pad_id)
        return ids.to(self.device), mask.to(self.device)

    def run(self, ids: torch.Tensor, mask: torch.Tensor, needs: frozenset[Any] = frozenset()) -> States:
        """States of the body for padded ids and their mask, both (B, T)."""
        # A full mask is left out: attention then takes its fast path.
        attention = None if bool(mask.all()) else mask
        more: dict[str, Any] = {"token_type_ids": self._types(mask)} if self.types is not None else {}
        if "layers" in needs:
            more["output_hidden_states"] = True
        if "attentions" in needs:
            self._show_attentions()
            more["output_attentions"] = True
        out = self.body(input_ids=ids, attention_mask=attention, **more)
        # Some bodies (ModernBERT) list their last layer before its final norm: what other poolers read is meant.
        layers = (*out.hidden_states[:-1], out.last_hidden_state) if "layers" in needs else None
        attentions = tuple(out.attentions or ()) if "attentions" in needs else None
        if attentions is not None and (not attentions or any(maps is None for maps in attentions)):
            raise ModelError(f"'{self.model.config.model_type}' gives no attention maps", hint="Choose another method or base.")
        return States(out.last_hidden_state, mask, ids, layers, attentions)

    def _show_attentions(self) -> None:
        """Let attention be computed by the kernel that holds its maps: the fast ones never do."""
        if getattr(self.model, "_supports_attention_backend", False) and self.model.config._attn_implementation != "eager":
            self.model.set_attn_implementation("eager")

    def states(self, sequences: Sequences, needs: frozenset[Any] = frozenset()) -> States:
        """States of sequences padded together, in order."""
        return self.run(*self.pad(sequences), needs)

    def pair_states(self, left: Sequences, right: Sequences) -> States:
        """States of pairs of texts that are read together, framed and typed as the tokenizer frames pairs.

        Raises:
            ModelError: the tokenizer puts nothing between two texts.
        """
        assert self._pairs is not None, "an encoder without a tokenizer reads no pairs"
        frame = self._pairs()
        joined = [frame.join(one, other, self.max_length) for one, other in zip(left, right, strict=True)]
        ids, mask = self.pad([sequence for sequence, _ in joined])
        more: dict[str, Any] = {}
        if self.types is not None:
            more["token_type_ids"] = pair_types(self.model, [kinds for _, kinds in joined]).to(self.device)
        return States(self.body(input_ids=ids, attention_mask=mask, **more).last_hidden_state, mask, ids)

    def _types(self, mask: torch.Tensor) -> torch.Tensor:
        """Token types (B, T) int64 of rows padded on the right."""
        assert self.types is not None
        found = torch.zeros_like(mask)
        if any((*self.types.opening_types, *self.types.closing_types, self.types.inner_type)):
            for row, length in enumerate(mask.sum(1).tolist()):
                found[row, :length] = torch.tensor(self.types.types(length), device=mask.device)
        return found

    def embed(self, sequences: Sequence[Sequence[int]], budget: int | None = None, rows: Rows | None = None) -> torch.Tensor:
        """Vectors (n, d) float32 of token-id sequences, in order, transforms applied; of a pooler that gives a vector a token
        (n, T, d), all zero where there is none.

        Sequences are padded together with others of similar length, at most `budget` padded tokens at a time (None: the module's).
        `rows` is entered around each forward pass with the indices of its sequences (the adapter bank listens there).
        """
        groups = group_by_length([len(ids) for ids in sequences], budget or self.budget)
        vectors = []
        for group in groups:
            ids, mask = self.pad([sequences[i] for i in group])
            with rows(group) if rows else contextlib.nullcontext():
                states = self.run(ids, mask, self.pooler.needs)
            vectors.append(self.pooler.pool(states, self.pooling))
        stacked = torch.cat(vectors if self.pooler.gives == "dense" else _same_length(vectors))
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
            last = self.run(ids, mask).last
            rows = [row for row, i in enumerate(group) for _ in positions[i]]
            columns = [place for i in group for place in positions[i]]
            states.append(last[rows, columns])
            order += [starts[i] + k for i in group for k in range(len(positions[i]))]
        stacked = torch.cat(states)
        return torch.empty_like(stacked).index_copy(0, torch.tensor(order, device=stacked.device), stacked)

    def mlm_logits(self, states: torch.Tensor) -> torch.Tensor:
        """Vocabulary logits (m, V) of states (m, d)."""
        return mlm_logits(self.model, states)


def _same_length(vectors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Vectors (B, T, d) of several groups with the T of the longest, zeros behind."""
    longest = max(one.shape[1] for one in vectors)
    return [nn.functional.pad(one, (0, 0, 0, longest - one.shape[1])) for one in vectors]


def own_rows(tensor: torch.Tensor) -> torch.Tensor:
    """What a process that trains by itself gathers: its own rows."""
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
