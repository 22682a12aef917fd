"""Which tokens of a batch are hidden: single ones, whole words, spans of words or of tokens."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from langadapt.contracts.text import icu_segments, unspaced_share
from langadapt.errors import DataError

TRIES = 100
"""Spans of tokens drawn for a sequence at most: those that fall on what is hidden already hide nothing new."""

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


def span(free: np.ndarray, words: np.ndarray, rate: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Runs of whole words, their lengths geometric (SpanBERT, Joshi et al. 2020, arXiv:1907.10529).

    Spans and gaps take turns along the batch, gaps of a mean length that yields the rate; the end of a sequence ends a span for its reader.
    The rate must leave a word between two spans: it is below 0.79.

    Returns:
        Places that are hidden, increasing, and the span of each.
    """
    if not len(free):
        return free, free
    number = _numbered(words)
    count = int(number[-1]) + 1
    lengths = _span_lengths(rng, count + 50)
    mean = _mean_span()
    gap = mean * (1 - rate) / rate
    if gap < 1:
        raise DataError(f"span masking cannot hide {rate:.0%} of the words: spans would touch", hint="Take a rate below 0.79.")
    gaps = rng.geometric(1 / gap, size=len(lengths))
    hidden = np.repeat(np.tile([False, True], len(lengths)), np.column_stack([gaps, lengths]).reshape(-1))
    spans = np.repeat(np.arange(len(lengths)), gaps + lengths)
    # A start somewhere inside makes every word equally likely, the first of the batch too.
    start = int(rng.integers(0, 50))
    chosen = hidden[start : start + count][number]
    return free[chosen], spans[start : start + count][number][chosen]


def token_span(free: np.ndarray, lengths: np.ndarray, rate: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Runs of tokens wherever words end, as LTG-BERT's code draws them (Samuel et al. 2023, arXiv:2303.09859; ltgoslo/ltg-bert, 4fe9e6f).

    Of each sequence a binomial share of the tokens is to be hidden, one at least.  Spans are drawn until so many are: a length that is
    geometric (p = 1/3) modulo 10, a start anywhere from where the span would touch the first token to beyond the last.  Spans may overlap,
    the later one decides; the last may hide more than was left.

    Args:
        free: places of the tokens that may be hidden among all tokens of the batch, (n,), increasing.
        lengths: of the sequences, special tokens counted.

    Returns:
        Places that are hidden, increasing, and the span of each.
    """
    spans = np.full(int(lengths.sum()), -1)
    may = np.zeros(len(spans), dtype=bool)
    may[free] = True
    drawn = 0
    for end, length in zip(np.cumsum(lengths).tolist(), lengths.tolist(), strict=True):
        able, own = may[end - length : end], spans[end - length : end]
        count = int(able.sum())
        budget = min(count, max(1, int(rng.binomial(count, rate))))
        for _ in range(TRIES):
            if (own >= 0).sum() >= budget:
                break
            long = int(rng.geometric(1 / 3)) % 10
            start = int(rng.integers(1 - long, length + long))
            part = slice(max(0, start), max(0, min(length - 1, start + long)))
            own[part] = np.where(able[part], drawn, own[part])
            drawn += 1
    found = np.flatnonzero(spans >= 0)
    return found, spans[found]


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
