"""Datasets whose text columns have become token ids, once, before the first step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from langadapt.artifacts.dataset import text_columns
from langadapt.modeling.framing import Frame
from langadapt.modeling.token_ids import plain_backend, token_ids

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast

Row = dict[str, Any]
WordEnds = Callable[[str], list[int]]
"""Where the words of a text end, in characters."""

WORDS = ".words"
"""Ends the name of the column with each token's word, (T,) int64, -1 for special tokens; there when an objective asks for words."""


def tokenize_texts(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], max_length: int, prompt: str = ""
) -> tuple[list[list[int]], int]:
    """Token ids with special tokens, at most `max_length` each, and how many texts were truncated."""
    if not texts:
        return [], 0
    frame, side = Frame.of(tokenizer), tokenizer.truncation_side
    ids, truncated = [], 0
    for found in token_ids(tokenizer, [prompt + text for text in texts]):
        truncated += len(found) > max_length
        ids.append(frame.cut(found, max_length, side))
    return ids, truncated


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
    def of(
        cls,
        data: Dataset,
        tokenizer: PreTrainedTokenizerFast,
        max_length: int,
        long_texts: str,
        prompt: str = "",
        word_ends: WordEnds | None = None,
    ) -> TokenizedRows:
        """Tokenise every text column; ``split`` cuts a long text into several rows, ``truncate`` keeps its start.

        With `word_ends`, split texts come with the word of each token.
        """
        names = text_columns(data)
        columns: dict[str, list[Any]] = {name: list(data[name]) for name in data.column_names}
        if long_texts == "split":
            assert len(names) == 1, "only running text is split"
            if word_ends is not None:
                return cls(_split_words(tokenizer, names[0], columns[names[0]], max_length, word_ends))
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
    frame = Frame.of(tokenizer)
    opening, closing = list(frame.opening), list(frame.closing)
    pieces = []
    for ids in token_ids(tokenizer, texts, special_tokens=False):
        pieces += [opening + ids[part] + closing for part in _parts(len(ids), max_length - len(opening) - len(closing))]
    return pieces


def _split_words(tokenizer: PreTrainedTokenizerFast, name: str, texts: Sequence[str], max_length: int, word_ends: WordEnds) -> list[Row]:
    """As :func:`_split`, as rows with the word of each token beside its ids."""
    backend = plain_backend(tokenizer)
    frame = Frame.of(tokenizer)
    opening, closing = list(frame.opening), list(frame.closing)
    outside = np.full(len(opening), -1), np.full(len(closing), -1)
    rows: list[Row] = []
    for start in range(0, len(texts), 1024):  # offsets take far more memory than ids
        block = texts[start : start + 1024]
        for text, item in zip(block, backend.encode_batch(list(block), add_special_tokens=False), strict=True):
            ids = item.ids
            # A piece may begin with the space before its word: its last character tells the word.
            last = np.array([end for _, end in item.offsets], dtype=np.int64) - 1
            words = np.searchsorted(np.array(word_ends(text), dtype=np.int64), last, side="right")
            for part in _parts(len(ids), max_length - len(opening) - len(closing)):
                rows.append({name: opening + ids[part] + closing, name + WORDS: np.concatenate([outside[0], words[part], outside[1]])})
    return rows


def _parts(length: int, room: int) -> list[slice]:
    """Parts of equal size, none longer than `room`: no stub at the end of a text."""
    count = max(1, -(-length // room))
    size = max(1, -(-length // count))
    return [slice(start, start + size) for start in range(0, length, size)]


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
