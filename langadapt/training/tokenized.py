"""Datasets whose text columns have become token ids, once, before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from langadapt.artifacts.dataset import text_columns

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast

Row = dict[str, Any]


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


def tokenize_texts(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], max_length: int, prompt: str = ""
) -> tuple[list[list[int]], int]:
    """Token ids with special tokens, at most `max_length` each, and how many texts were truncated."""
    if not texts:
        return [], 0
    backend = plain_backend(tokenizer)
    encoded = backend.encode_batch_fast([prompt + text for text in texts])
    added = tokenizer.num_special_tokens_to_add()
    ids, truncated = [], 0
    for item in encoded:
        found = item.ids
        if len(found) > max_length:
            truncated += 1
            found = _cut(found, max_length, added)
        ids.append(found)
    return ids, truncated


def _cut(ids: list[int], max_length: int, added: int) -> list[int]:
    """Keep the start of a text and the closing special token (one opens, the rest close)."""
    closing = max(added - 1, 0)
    return ids[: max_length - closing] + ids[len(ids) - closing :] if closing else ids[:max_length]


class TokenizedRows:
    """Rows in memory with text columns as token-id lists; other columns as they are."""

    def __init__(self, rows: list[Row], truncated: int = 0) -> None:
        self.rows = rows
        self.truncated = truncated

    def __len__(self) -> int:
        return len(self.rows)

    def lengths(self) -> np.ndarray:
        """Tokens of each row, over all its texts: (n,)."""
        return np.array([sum(len(v) for v in row.values() if isinstance(v, list)) for row in self.rows])

    @classmethod
    def of(cls, data: Dataset, tokenizer: PreTrainedTokenizerFast, max_length: int, long_texts: str, prompt: str = "") -> TokenizedRows:
        """Tokenise every text column; ``split`` cuts a long text into several rows, ``truncate`` keeps its start."""
        names = text_columns(data)
        columns: dict[str, list[Any]] = {name: list(data[name]) for name in data.column_names}
        if long_texts == "split":
            assert len(names) == 1, "only running text is split"
            pieces = _split(tokenizer, columns[names[0]], max_length)
            return cls([{names[0]: piece} for piece in pieces])
        truncated = 0
        for name in names:
            texts = columns[name]
            present = [text for text in texts if text is not None]
            ids, cut = tokenize_texts(tokenizer, present, max_length, prompt)
            truncated += cut
            stream = iter(ids)
            columns[name] = [None if text is None else next(stream) for text in texts]
        keys = list(columns)
        return cls([dict(zip(keys, values, strict=True)) for values in zip(*columns.values(), strict=True)], truncated)

    def split(self, share: float, rng: np.random.Generator) -> tuple[TokenizedRows, TokenizedRows]:
        """(training rows, held-out rows), a random `share` of the rows held out, at least one."""
        order = rng.permutation(len(self.rows))
        held = max(1, round(share * len(self.rows)))
        return (
            TokenizedRows([self.rows[i] for i in sorted(order[held:])], self.truncated),
            TokenizedRows([self.rows[i] for i in sorted(order[:held])]),
        )


def _split(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Each text as one or more sequences of at most `max_length` ids, special tokens around every piece."""
    backend = plain_backend(tokenizer)
    probe = backend.encode("", add_special_tokens=True).ids
    opening, closing = probe[:1], probe[1:]
    room = max_length - len(probe)
    pieces = []
    for item in backend.encode_batch_fast(list(texts), add_special_tokens=False):
        ids = item.ids
        count = max(1, -(-len(ids) // room))
        size = -(-len(ids) // count)  # pieces of equal size: no stub at the end of a text
        for start in range(0, len(ids), max(size, 1)):
            pieces.append(opening + ids[start : start + size] + closing)
    return pieces


def epoch_order(rows: int, epoch: int, seed: int) -> np.ndarray:
    """The shuffled row order of one epoch, the same on every machine."""
    return np.random.default_rng([seed, epoch]).permutation(rows)


def bucketed(order: np.ndarray, lengths: np.ndarray, batch_size: int, mega: int, seed: int, epoch: int) -> np.ndarray:
    """A shuffled order cut anew so that the rows of a batch have similar lengths.

    The order is taken `mega` batches at a time; inside such a mega-batch rows are sorted by length and cut into batches, and the
    batches are shuffled.  A row still meets others by chance from epoch to epoch, and padding nearly vanishes.  The last, short batch
    of the epoch stays last.
    """
    whole = len(order) // batch_size * batch_size
    rng = np.random.default_rng([seed, epoch, 1])
    parts = []
    for start in range(0, whole, mega * batch_size):
        chunk = order[start : min(start + mega * batch_size, whole)]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        parts.append(rng.permutation(chunk.reshape(-1, batch_size)).reshape(-1))
    return np.concatenate([*parts, order[whole:]])


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Optimiser steps that one pass over the rows takes."""
    return -(-rows // batch_size)
