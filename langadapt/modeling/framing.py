"""What a tokenizer puts around a text: the special tokens before and after it, and the token types of all of them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING

from langadapt.modeling.token_ids import plain_backend

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Frame:
    """Special tokens around a single text, by id, and the type ids that go with them (BERT: all 0; XLNet and Funnel: not)."""

    opening: tuple[int, ...]
    closing: tuple[int, ...]
    opening_types: tuple[int, ...]
    closing_types: tuple[int, ...]
    inner_type: int = 0

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast) -> Frame:
        """Read off a text of one word, as the tokenizer itself frames it."""
        found = plain_backend(tokenizer).encode("a", add_special_tokens=True)
        special = found.special_tokens_mask
        first = next((i for i, mark in enumerate(special) if not mark), None)
        if first is None:  # nothing of the word is left: what is there opens
            return cls(tuple(found.ids[:1]), tuple(found.ids[1:]), tuple(found.type_ids[:1]), tuple(found.type_ids[1:]))
        last = len(special) - next(i for i, mark in enumerate(reversed(special)) if not mark)
        ids, types = found.ids, found.type_ids
        return cls(tuple(ids[:first]), tuple(ids[last:]), tuple(types[:first]), tuple(types[last:]), types[first])

    def types(self, length: int) -> list[int]:
        """Token types of a framed text of `length` tokens."""
        inner = length - len(self.opening) - len(self.closing)
        if inner < 0:  # cut below its own frame
            return [*self.opening_types, *self.closing_types][:length]
        return [*self.opening_types, *[self.inner_type] * inner, *self.closing_types]

    def cut(self, ids: list[int], length: int, side: str = "right") -> list[int]:
        """At most `length` ids of a framed text: its special tokens, and the start of the text (or its end, for ``left``)."""
        if len(ids) <= length:
            return ids
        opening, closing = len(self.opening), len(self.closing)
        room = length - opening - closing
        if room <= 0:
            return ids[:length]
        end = len(ids) - closing
        inner = ids[end - room : end] if side == "left" else ids[opening : opening + room]
        return [*ids[:opening], *inner, *ids[end:]]


def type_frame(tokenizer: PreTrainedTokenizerFast, model: PreTrainedModel) -> Frame | None:
    """The frame whose token types a model is to be given; None where the tokenizer makes none or the model takes none.

    Other loaders pass whatever the tokenizer's `model_input_names` state: training and inference do too, since some architectures add
    something for type 0 that they do not add for none.
    """
    if "token_type_ids" not in tokenizer.model_input_names:
        return None
    return Frame.of(tokenizer) if "token_type_ids" in inputs_of(model.base_model) else None


def inputs_of(model: PreTrainedModel) -> set[str]:
    """Names of the inputs that a model's forward pass takes, also where a library has wrapped it (adapters does, hiding its signature)."""
    found: set[str] = set()
    for family in type(model).__mro__:
        if "forward" in vars(family) and family.__module__.startswith(("transformers.", "adapters.")):
            found |= set(inspect.signature(vars(family)["forward"]).parameters)
    return found or set(inspect.signature(model.forward).parameters)
