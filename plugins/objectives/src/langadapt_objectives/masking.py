"""Which tokens of a batch are hidden: single ones, whole words, or spans of words.  All rows at once, in numpy."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from langadapt.contracts.text import icu_segments, unspaced_share
from langadapt.errors import DataError

SPAN_GROWTH, LONGEST_SPAN = 0.2, 10
"""A span grows by another word with probability 1 - 0.2, up to 10 words: 3.8 on average (SpanBERT)."""


def dynamic(free: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Every token by itself (Liu et al. 2019, arXiv:1907.11692).

    Args:
        free: places of the tokens that may be hidden, (n,), increasing.
        rate: the share to hide.

    Returns:
        Places that are hidden, increasing.
    """
    return free[rng.random(len(free)) < rate]


def whole_word(free: np.ndarray, words: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """All pieces of a word or none (Devlin's whole-word masking, 2019; Cui et al. 2021, arXiv:1906.08101).

    Args:
        free, rate: as in :func:`dynamic`.
        words: the word of each free token, (n,): equal neighbours are one word.
    """
    number = _numbered(words)
    return free[(rng.random(int(number[-1]) + 1) < rate)[number]] if len(free) else free


def span(free: np.ndarray, words: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Runs of whole words, their lengths geometric (SpanBERT, Joshi et al. 2020, arXiv:1907.10529).

    Spans and gaps take turns along the batch, gaps of a mean length that yields the rate; the end of a sequence ends a span for its reader.
    The rate must leave a word between two spans: it is below 0.79.
    """
    if not len(free):
        return free
    number = _numbered(words)
    count = int(number[-1]) + 1
    lengths = _span_lengths(rng, count + 50)
    mean = _mean_span()
    gap = mean * (1 - rate) / rate
    if gap < 1:
        raise DataError(f"span masking cannot hide {rate:.0%} of the words: spans would touch", hint="Take a rate below 0.79.")
    gaps = rng.geometric(1 / gap, size=len(lengths))
    hidden = np.repeat(np.tile([False, True], len(lengths)), np.column_stack([gaps, lengths]).reshape(-1))
    # A start somewhere inside makes every word equally likely, the first of the batch too.
    start = int(rng.integers(0, 50))
    found: np.ndarray = free[hidden[start : start + count][number]]
    return found


def _numbered(words: np.ndarray) -> np.ndarray:
    """0, 1, 2 … along a run of words: (n,)."""
    return np.cumsum(np.r_[False, words[1:] != words[:-1]]) if len(words) else np.zeros(0, dtype=np.int64)


def _span_lengths(rng: np.random.Generator, count: int) -> np.ndarray:
    chances = SPAN_GROWTH * (1 - SPAN_GROWTH) ** np.arange(LONGEST_SPAN)
    return rng.choice(np.arange(1, LONGEST_SPAN + 1), size=count, p=chances / chances.sum())


def _mean_span() -> float:
    chances = SPAN_GROWTH * (1 - SPAN_GROWTH) ** np.arange(LONGEST_SPAN)
    return float((np.arange(1, LONGEST_SPAN + 1) * chances).sum() / chances.sum())


def word_ends(text: str, words: str) -> list[int]:
    """Where the words of a text end, in characters.

    Args:
        words: ``white-space``, or ``icu``: the Unicode rules for word boundaries (UAX #29), with ICU's dictionaries for Thai, Lao,
            Khmer, Burmese, Chinese and Japanese.  Punctuation marks are words of their own there.
    """
    if words == "white-space":
        return [i for i, letter in enumerate(text) if letter.isspace() and i and not text[i - 1].isspace()] + [len(text)]
    return [end for start, end in icu_segments(text) if not text[start:end].isspace()]


def check_white_space(texts: Iterable[str]) -> None:
    """Refuse words by white space in a script that sets none.

    Raises:
        DataError: most letters of the first thousand texts are of such a script.
    """
    share = unspaced_share(itertools.islice(texts, 1000))
    if share > 0.5:
        raise DataError(
            f"words are to be told apart by white space, but {share:.0%} of the letters are of a script that sets none",
            hint="Write words: icu.",
        )
