"""Datasets whose text columns have become token ids, once, before the first step."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from langadapt.contracts.data import Role
from langadapt.contracts.training import WORDS, Row
from langadapt.modeling.framing import Frame
from langadapt.modeling.token_ids import plain_backend, token_ids

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast

WordEnds = Callable[[str], list[int]]
"""Where the words of a text end, in characters."""


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


class Ragged:
    """Sequences of token ids in one flat array: four bytes a token, eight a sequence."""

    def __init__(self, flat: np.ndarray, ends: np.ndarray, absent: np.ndarray | None = None) -> None:
        self.flat, self.ends, self.absent = flat, ends, absent

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, i: int) -> list[int] | None:
        """A sequence; None where the row has none."""
        if self.absent is not None and self.absent[i]:
            return None
        found: list[int] = self.flat[self._start(i) : self.ends[i]].tolist()
        return found

    def _start(self, i: int) -> int:
        return int(self.ends[i - 1]) if i else 0

    def lengths(self) -> np.ndarray:
        """Tokens of each sequence: (n,)."""
        return np.diff(self.ends, prepend=0)

    longest = lengths

    def counts(self) -> np.ndarray:
        """1 where there is a sequence, 0 where it is absent: (n,)."""
        return np.ones(len(self), dtype=np.int64) if self.absent is None else 1 - self.absent.astype(np.int64)

    def take(self, rows: np.ndarray) -> Ragged:
        """Some of the sequences, in that order."""
        parts = [self.flat[self._start(i) : self.ends[i]] for i in rows]
        return Ragged(
            np.concatenate([*parts, self.flat[:0]]),
            np.cumsum([len(part) for part in parts], dtype=np.int64),
            self.absent[rows] if self.absent is not None else None,
        )

    @classmethod
    def of(cls, sequences: Iterable[Sequence[int] | None]) -> Ragged:
        """From plain lists; None is an absent one."""
        flat, ends, absent, total = array("i"), array("q"), array("b"), 0
        for ids in sequences:
            absent.append(ids is None)
            flat.extend(ids or ())
            total += len(ids or ())
            ends.append(total)
        gone = np.frombuffer(absent, dtype=np.bool_) if any(absent) else None
        return cls(_array(flat, np.int32), _array(ends, np.int64), gone)


def _array(values: array[int], dtype: type) -> np.ndarray:
    return np.frombuffer(values, dtype=dtype) if len(values) else np.zeros(0, dtype=dtype)


class _Nested:
    """Several texts a row: the sequences of all rows, and where each row's end."""

    def __init__(self, texts: Ragged, ends: np.ndarray) -> None:
        self.texts, self.ends = texts, ends

    def __len__(self) -> int:
        return len(self.ends)

    def _places(self, i: int) -> range:
        return range(int(self.ends[i - 1]) if i else 0, int(self.ends[i]))

    def __getitem__(self, i: int) -> list[list[int]]:
        return [self.texts[k] or [] for k in self._places(i)]

    def lengths(self) -> np.ndarray:
        """Tokens of each row, over all its texts: (n,)."""
        sums = np.cumsum(self.texts.lengths())
        at = np.where(self.ends > 0, sums[np.maximum(self.ends - 1, 0)], 0) if len(sums) else np.zeros_like(self.ends)
        return np.diff(at, prepend=0)

    def longest(self) -> np.ndarray:
        """Tokens of each row's longest text: (n,)."""
        lengths = self.texts.lengths()
        return np.array([max((int(lengths[k]) for k in self._places(i)), default=0) for i in range(len(self))], dtype=np.int64)

    def counts(self) -> np.ndarray:
        """Texts of each row: (n,)."""
        return np.diff(self.ends, prepend=0)

    def take(self, rows: np.ndarray) -> _Nested:
        """Some of the rows, in that order."""
        places = [self._places(i) for i in rows]
        return _Nested(self.texts.take(np.array([k for part in places for k in part], dtype=np.int64)), np.cumsum([len(p) for p in places]))


Held = Ragged | _Nested | list[Any]
"""A column: token ids, lists of these, or plain values."""


class TokenizedRows:
    """Rows with their texts as token ids, held by column; a row comes out as a plain dictionary."""

    def __init__(self, columns: dict[str, Held], truncated: int = 0) -> None:
        self.columns = columns
        self.truncated = truncated

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, row: int) -> Row:
        return {name: values[row] for name, values in self.columns.items()}

    def take(self, rows: Iterable[int]) -> list[Row]:
        """Some rows, in that order."""
        return [self[int(row)] for row in rows]

    def lengths(self) -> np.ndarray:
        """Tokens of each row, over all its texts: (n,)."""
        return np.sum([held.lengths() for name, held in self._texts() if not name.endswith(WORDS)], axis=0)  # type: ignore[no-any-return]

    def longest(self) -> np.ndarray:
        """Tokens of each row's longest text: (n,), at least 1."""
        parts = [held.longest() for name, held in self._texts() if not name.endswith(WORDS)]
        return np.maximum(np.max(parts, axis=0), 1)  # type: ignore[no-any-return]

    def texts_per_row(self) -> np.ndarray:
        """Texts of each row: (n,)."""
        return np.sum([held.counts() for name, held in self._texts() if not name.endswith(WORDS)], axis=0)  # type: ignore[no-any-return]

    def texts_of(self, row: int) -> list[tuple[int, ...]]:
        """A row's texts as token ids."""
        found: list[tuple[int, ...]] = []
        for name, held in self._texts():
            if name.endswith(WORDS):
                continue
            value: Any = held[row]
            found += [tuple(ids) for ids in value] if isinstance(held, _Nested) else [tuple(value)] if value is not None else []
        return found

    def values(self, column: str) -> list[Any]:
        """A column that holds no text.

        Raises:
            KeyError: there is none of that name.
        """
        held = self.columns[column]
        if not isinstance(held, list):
            raise KeyError(column)
        return held

    def _texts(self) -> list[tuple[str, Ragged | _Nested]]:
        return [(name, held) for name, held in self.columns.items() if not isinstance(held, list)]

    @classmethod
    def of(
        cls,
        data: Dataset,
        tokenizer: PreTrainedTokenizerFast,
        max_length: int,
        roles: Mapping[str, Role],
        long_texts: str = "truncate",
        prompt: str = "",
        word_ends: WordEnds | None = None,
    ) -> TokenizedRows:
        """Tokenise every text; ``split`` cuts a long text into several rows, ``truncate`` keeps its start.

        Args:
            roles: what the columns are; one that is not named stays as it is.
            word_ends: with it, split texts come with the word of each token.
        """
        kinds = {name: roles.get(name) for name in data.column_names}
        if long_texts == "split":
            (name,) = (name for name, kind in kinds.items() if kind is Role.TEXT)
            if word_ends is not None:
                return cls(_split_words(tokenizer, name, list(data[name]), max_length, word_ends))
            return cls({name: Ragged.of(_split(tokenizer, list(data[name]), max_length))})
        columns: dict[str, Held] = {}
        truncated = 0
        for name, kind in kinds.items():
            values = list(data[name])
            if kind is Role.TEXTS:
                flat, cut = _ragged(tokenizer, [text for texts in values for text in texts], max_length, prompt)
                columns[name] = _Nested(flat, np.cumsum([len(texts) for texts in values], dtype=np.int64))
            elif kind is Role.TEXT:
                columns[name], cut = _ragged(tokenizer, values, max_length, prompt)
            else:
                columns[name], cut = values, 0
            truncated += cut
        return cls(columns, truncated)

    def split(self, share: float, rng: np.random.Generator) -> tuple[TokenizedRows, TokenizedRows]:
        """(training rows, held-out rows), a random `share` of the rows held out, at least one."""
        order = rng.permutation(len(self))
        held = max(1, round(share * len(self)))
        return self._only(np.sort(order[held:]), self.truncated), self._only(np.sort(order[:held]))

    def _only(self, rows: np.ndarray, truncated: int = 0) -> TokenizedRows:
        kept = {name: [held[i] for i in rows] if isinstance(held, list) else held.take(rows) for name, held in self.columns.items()}
        return TokenizedRows(kept, truncated)


def _ragged(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str | None], max_length: int, prompt: str) -> tuple[Ragged, int]:
    """Token ids of texts, None where there is none, and how many were truncated."""
    truncated = 0

    def blocks() -> Iterator[list[int] | None]:
        nonlocal truncated
        for start in range(0, len(texts), BLOCK):
            block = texts[start : start + BLOCK]
            ids, cut = tokenize_texts(tokenizer, [text for text in block if text is not None], max_length, prompt)
            truncated += cut
            stream = iter(ids)
            yield from (None if text is None else next(stream) for text in block)

    found = Ragged.of(blocks())
    return found, truncated


BLOCK = 10_000
"""Texts tokenised at once: their ids are Python lists for a moment, ten times the memory they are kept in."""


def _split(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Each text as one or more sequences of at most `max_length` ids, special tokens around every piece."""
    frame = Frame.of(tokenizer)
    opening, closing = list(frame.opening), list(frame.closing)
    pieces = []
    for ids in token_ids(tokenizer, texts, special_tokens=False):
        pieces += [opening + ids[part] + closing for part in _parts(len(ids), max_length - len(opening) - len(closing))]
    return pieces


def _split_words(
    tokenizer: PreTrainedTokenizerFast, name: str, texts: Sequence[str], max_length: int, word_ends: WordEnds
) -> dict[str, Held]:
    """As :func:`_split`, with the word of each token beside its ids."""
    backend = plain_backend(tokenizer)
    frame = Frame.of(tokenizer)
    opening, closing = list(frame.opening), list(frame.closing)
    outside = [-1] * len(opening), [-1] * len(closing)

    def blocks() -> Iterator[tuple[list[int], list[int]]]:
        for start in range(0, len(texts), 1024):  # offsets take far more memory than ids
            block = texts[start : start + 1024]
            for text, item in zip(block, backend.encode_batch(list(block), add_special_tokens=False), strict=True):
                ids = item.ids
                # A piece may begin with the space before its word: its last character tells the word.
                last = np.array([end for _, end in item.offsets], dtype=np.int64) - 1
                words = np.searchsorted(np.array(word_ends(text), dtype=np.int64), last, side="right").tolist()
                for part in _parts(len(ids), max_length - len(opening) - len(closing)):
                    yield opening + ids[part] + closing, [*outside[0], *words[part], *outside[1]]

    pieces = list(blocks())
    return {name: Ragged.of(ids for ids, _ in pieces), name + WORDS: Ragged.of(words for _, words in pieces)}


def _parts(length: int, room: int) -> list[slice]:
    """Parts of equal size, none longer than `room`: no stub at the end of a text."""
    count = max(1, -(-length // room))
    size = max(1, -(-length // count))
    return [slice(start, start + size) for start in range(0, length, size)]


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Optimiser steps that one pass over the rows takes."""
    return -(-rows // batch_size)
