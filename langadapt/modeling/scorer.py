"""ScorerModule: a transformer that reads two texts at once and gives one number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from langadapt.contracts.encoder import EncoderSpec, Sequences
from langadapt.modeling.batching import group_by_length
from langadapt.modeling.encoder import spec_of
from langadapt.modeling.framing import PairFrame, inputs_of

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
        typed: whether the tokenizer makes token types.
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
        self.gather: Callable[[torch.Tensor], torch.Tensor] = _same
        self.typed = typed and "token_type_ids" in inputs_of(model)

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
        longest = max(len(ids) for ids, _ in pairs)
        shape = (len(pairs), longest)
        ids, mask, types = torch.full(shape, self.pad_id), torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.int64)
        for row, (sequence, kinds) in enumerate(pairs):
            ids[row, : len(sequence)] = torch.tensor(sequence)
            types[row, : len(sequence)] = torch.tensor(kinds)
            mask[row, : len(sequence)] = 1
        rows = int(getattr(self.model.config, "type_vocab_size", 2))
        more = {"token_type_ids": types.clamp(max=max(0, rows - 1)).to(self.device)} if self.typed else {}
        out = self.model(input_ids=ids.to(self.device), attention_mask=mask.to(self.device), **more)
        found: torch.Tensor = out.logits[:, 0].float()
        return found


def _same(tensor: torch.Tensor) -> torch.Tensor:
    """`gather` of a single process."""
    return tensor
