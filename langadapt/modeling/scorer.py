"""ScorerModule: a transformer that reads two texts at once and gives one number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from langadapt.contracts.encoder import EncoderSpec, Sequences
from langadapt.modeling.batching import group_by_length
from langadapt.modeling.encoder import own_rows, padded, pair_types, spec_of
from langadapt.modeling.framing import PairFrame

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class ScorerModule(nn.Module):
    """A sequence classifier with one output, fed with pairs.

    Args:
        model: with a classification head of one label.
        frame: how the tokenizer frames a pair.
        pad_id: id of the padding token.
        max_length: tokens of a pair, special ones included.
        budget: padded tokens in one forward pass.
        typed: whether the model is given token types.
    """

    def __init__(
        self, model: PreTrainedModel, frame: PairFrame, pad_id: int, max_length: int, budget: int = 4096, typed: bool = True
    ) -> None:
        super().__init__()
        self.model = model
        self.frame = frame
        self.pad_id = pad_id
        self.max_length = max_length
        self.budget = budget
        self.gather: Callable[[torch.Tensor], torch.Tensor] = own_rows
        self.typed = typed

    @property
    def spec(self) -> EncoderSpec:
        """Of the body."""
        return spec_of(self.model, self.pad_id)

    @property
    def device(self) -> torch.device:
        return next(iter(self.model.parameters())).device  # type: ignore[no-any-return]

    def score(self, left: Sequences, right: Sequences, budget: int | None = None) -> torch.Tensor:
        """Logits (n,) float32 of pairs of framed texts, in order."""
        pairs = [self.frame.join(one, other, self.max_length) for one, other in zip(left, right, strict=True)]
        groups = group_by_length([len(ids) for ids, _ in pairs], budget or self.budget)
        parts = [self._group([pairs[i] for i in group]) for group in groups]
        stacked = torch.cat(parts)
        order = torch.tensor([i for group in groups for i in group], device=stacked.device)
        return torch.empty_like(stacked).index_copy(0, order, stacked)

    def _group(self, pairs: Sequence[tuple[list[int], list[int]]]) -> torch.Tensor:
        ids, mask = padded([sequence for sequence, _ in pairs], self.pad_id)
        more = {"token_type_ids": pair_types(self.model, [kinds for _, kinds in pairs]).to(self.device)} if self.typed else {}
        out = self.model(input_ids=ids.to(self.device), attention_mask=mask.to(self.device), **more)
        found: torch.Tensor = out.logits[:, 0].float()
        return found
