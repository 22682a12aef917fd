"""Texts to token ids, on all threads of the Rust tokenizer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def plain_backend(tokenizer: PreTrainedTokenizerFast) -> Any:
    """The Rust tokenizer, set to neither cut nor pad.

    Set only where it is not so yet: while another thread encodes, setting anything is an error ("Already borrowed").
    """
    backend = tokenizer.backend_tokenizer
    if backend.truncation is not None:
        backend.no_truncation()
    if backend.padding is not None:
        backend.no_padding()
    return backend


def token_ids(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], special_tokens: bool = True) -> list[list[int]]:
    """Token ids of each text, neither cut nor padded."""
    backend = plain_backend(tokenizer)
    if hasattr(type(tokenizer), "token_ids"):  # a class that knows a faster way, langadapt's or a release's copy of it
        found: list[list[int]] = tokenizer.token_ids(texts, special_tokens)
        return found
    return [item.ids for item in backend.encode_batch_fast(list(texts), add_special_tokens=special_tokens)]


def plain_tokenizer(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """A copy that puts no special tokens around a text."""
    from tokenizers import processors

    found = copy.deepcopy(tokenizer)
    found.backend_tokenizer.post_processor = processors.Sequence([])
    return found
