"""What a tokenizer puts around a text: the special tokens before and after it, and the token types of all of them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from langadapt.errors import ModelError
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


@dataclass(frozen=True)
class PairFrame:
    """Special tokens around and between two texts, and the token types that go with them: (ids, types) of each place."""

    single: Frame
    opening: tuple[tuple[int, int], ...]
    middle: tuple[tuple[int, int], ...]
    closing: tuple[tuple[int, int], ...]
    inner_types: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast) -> PairFrame:
        """Read off a pair of one word each, as the tokenizer itself frames it.

        Raises:
            ModelError: it puts nothing between two texts, so that a model could not tell where the second begins.
        """
        found = plain_backend(tokenizer).encode("a", "a", add_special_tokens=True)
        places = list(zip(found.ids, found.type_ids, strict=True))
        inner = [[i for i, part in enumerate(found.sequence_ids) if part == side] for side in (0, 1)]
        if not inner[0] or not inner[1] or inner[0][-1] + 1 >= inner[1][0]:
            raise ModelError(
                "the tokenizer puts nothing between two texts: a scorer could not tell them apart",
                hint="Choose a base whose tokenizer frames pairs (BERT, RoBERTa, XLM-R, ModernBERT …).",
            )
        (first, end), (second, last) = ((part[0], part[-1] + 1) for part in inner)
        types = found.type_ids[first], found.type_ids[second]
        return cls(Frame.of(tokenizer), tuple(places[:first]), tuple(places[end:second]), tuple(places[last:]), types)

    def join(self, left: Sequence[int], right: Sequence[int], length: int) -> tuple[list[int], list[int]]:
        """Ids and token types of two framed texts as one pair of at most `length` tokens; the longer one loses its end first."""
        one, other = (list(ids[len(self.single.opening) : len(ids) - len(self.single.closing)]) for ids in (left, right))
        room = max(2, length - len(self.opening) - len(self.middle) - len(self.closing))
        if len(one) + len(other) > room:
            half = room // 2
            keep = min(len(one), max(half, room - len(other)))
            one, other = one[:keep], other[: room - keep]
        parts = (
            *self.opening, *((i, self.inner_types[0]) for i in one), *self.middle,
            *((i, self.inner_types[1]) for i in other), *self.closing,
        )  # fmt: skip
        return [i for i, _ in parts], [kind for _, kind in parts]


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
