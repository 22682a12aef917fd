"""How a tokenizer cuts a text, and whether to keep, prune, extend or replace a vocabulary."""

from __future__ import annotations

import importlib.util
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from langadapt.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ENOUGH = 1_000_000
"""Words of text below which a new vocabulary's rows cannot be learnt well."""

FREQUENT = 5
"""Occurrences from which a distinct word counts in the fragment score."""


@dataclass(frozen=True)
class Cut:
    """How a tokenizer cuts a text.  Words stand between white space; in scripts that set none, ICU's dictionaries tell them apart.

    Args:
        vocabulary: entries.
        used: share of the entries that the whole text uses.
        fertility: tokens per word (Rust et al. 2021, arXiv:2012.15613).
        continued: share of words in more than one token.
        unknown: share of tokens that are unknown.
        fragments: pieces per distinct word seen at least five times, each counted once (fragment score; AVocaDo, Hong et al. 2021,
            arXiv:2110.13434); None where no word is seen so often.
        overlap: share of the entries that the base has too.
        tokens: mean tokens a text; tokens_95: the 95th percentile.
        compute: tokens over the base's tokens: the linear layers' work.
        embedding_mb: the input rows in float32.
    """

    vocabulary: int
    used: float
    fertility: float
    continued: float
    unknown: float
    fragments: float | None
    overlap: float
    tokens: float
    tokens_95: float
    compute: float
    embedding_mb: float


@dataclass(frozen=True)
class Advice:
    """Candidates by name (`keep` first), those that could not be made with the reason, and a recommendation with its evidence."""

    cuts: dict[str, Cut]
    failed: dict[str, str]
    choice: str
    reasons: list[str]
    texts: int
    words: int


def split(texts: list[str]) -> tuple[list[str], list[str]]:
    """(to train candidates on, to measure on): every tenth text is held out.

    Raises:
        DataError: fewer than 50 texts.
    """
    if len(texts) < 50:
        raise DataError(f"{len(texts)} texts are too few to advise on", hint="Give at least 50, better thousands: --corpus PATH.")
    return [text for i, text in enumerate(texts) if i % 10], texts[::10]


def compare(
    tokenizers: Mapping[str, PreTrainedTokenizerFast], failed: dict[str, str], texts: list[str], held: list[str], width: int
) -> Advice:
    """Measure every candidate on the held-out texts and recommend one.

    Raises:
        DataError: there is no word, or the words of this script cannot be told apart here.
    """
    words_of = splitter(texts)
    words = [words_of(text) for text in held]
    counts = Counter(word for text in texts for word in words_of(text))
    if not any(words):
        raise DataError("the held-out texts have no word", hint="Give text: --corpus PATH.")
    frequent = sorted(word for word, count in counts.items() if count >= FREQUENT)
    base = tokenizers["keep"]
    reference = _lengths(base, held)
    shared = _surfaces(base)
    cuts = {name: measure(tokenizer, texts, held, words, frequent, reference, shared, width) for name, tokenizer in tokenizers.items()}
    choice, reasons = recommend(cuts, sum(counts.values()))
    return Advice(cuts, failed, choice, reasons, len(held), sum(map(len, words)))


UNSPACED = ("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
"""How Unicode's names begin for letters of scripts that set no white space between words."""


def splitter(texts: list[str]) -> Callable[[str], list[str]]:
    """What cuts these texts into words: white space, or ICU where most letters of the first thousand texts are of a script without.

    Raises:
        DataError: ICU is needed and not installed.
    """
    letters = [letter for text in texts[:1000] for letter in text if letter.isalpha()]
    unspaced = sum(unicodedata.name(letter, "").startswith(UNSPACED) for letter in letters)
    if unspaced <= len(letters) / 2:
        return str.split
    if importlib.util.find_spec("icu4py") is None:
        raise DataError(
            f"{unspaced / len(letters):.0%} of the letters are of a script that sets no white space: its words cannot be told apart",
            hint="Install the plugin langadapt-objectives: it brings ICU, which knows these words.",
        )
    return _icu_words


def _icu_words(text: str) -> list[str]:
    from icu4py.breakers import WordBreaker

    found = (text[start:end] for start, end in WordBreaker(text, "root").segments())
    return [word for word in found if any(letter.isalnum() for letter in word)]


def measure(
    tokenizer: PreTrainedTokenizerFast,
    texts: list[str],
    held: list[str],
    words: list[list[str]],
    frequent: list[str],
    reference: np.ndarray,
    shared: set[str],
    width: int,
) -> Cut:
    """One tokenizer on held-out texts; `reference` are the base's tokens a text, `shared` its pieces' spellings."""
    flat = _encode(tokenizer, [word for line in words for word in line])
    pieces = np.array([len(ids) for ids in flat])
    unknown = sum(i == tokenizer.unk_token_id for ids in flat for i in ids)
    fragments = np.array([len(ids) for ids in _encode(tokenizer, frequent)])
    lengths = _lengths(tokenizer, held)
    used = {i for ids in _encode(tokenizer, texts) for i in ids}
    return Cut(
        vocabulary=len(tokenizer),
        used=len(used) / len(tokenizer),
        fertility=float(pieces.mean()),
        continued=float((pieces > 1).mean()),
        unknown=unknown / max(int(pieces.sum()), 1),
        fragments=float(fragments.mean()) if len(fragments) else None,
        overlap=len(shared & _surfaces(tokenizer)) / max(len(_surfaces(tokenizer)), 1),
        tokens=float(lengths.mean()),
        tokens_95=float(np.percentile(lengths, 95)),
        compute=float(lengths.sum() / max(reference.sum(), 1)),
        embedding_mb=len(tokenizer) * width * 4 / 1e6,
    )


def recommend(cuts: Mapping[str, Cut], words: int) -> tuple[str, list[str]]:
    """(keep, prune, extend or replace; the evidence in sentences).

    Replacing pays where the base leaves text unknown, or its words in shreds and there is text to learn the rows from: every one that is
    not copied must be learnt again.  Extending pays from five per cent of the tokens on.  Pruning costs nothing and pays where most
    rows are idle.

    Args:
        words: of the whole text.
    """
    choice, reasons = _recommended(cuts, words >= ENOUGH)
    if words < ENOUGH:
        reasons.append(f"The text has {words:,} words: look at a million before you trust this.")
    return choice, reasons


def _recommended(cuts: Mapping[str, Cut], enough: bool) -> tuple[str, list[str]]:
    keep = cuts["keep"]
    replace, extend, prune = cuts.get("replace"), cuts.get("extend"), cuts.get("prune")
    if replace is not None and keep.unknown > 0.01 and replace.unknown < keep.unknown / 2:
        return "replace", [f"{keep.unknown:.1%} of the base's tokens are unknown, {replace.unknown:.2%} with a vocabulary of its own."]
    if replace is not None and enough and replace.compute < 0.7:
        evidence = f"A vocabulary of {replace.vocabulary:,} takes {1 - replace.compute:.0%} fewer tokens than the base"
        return "replace", [f"{evidence} ({replace.fertility:.2f} instead of {keep.fertility:.2f} a word)."]
    if extend is not None and extend.compute < 0.95:
        added = extend.vocabulary - keep.vocabulary
        reasons = [f"{added:,} added tokens save {1 - extend.compute:.0%} of the tokens, and every old row stays."]
        if prune is not None:
            reasons.append(f"Pruning first would free {1 - prune.vocabulary / keep.vocabulary:.0%} of the rows.")
        return "extend", reasons
    if prune is not None:
        saved = keep.embedding_mb - prune.embedding_mb
        reasons = [f"{1 - keep.used:.0%} of the rows are idle on this text: pruning frees {saved:.0f} MB and changes no segmentation."]
        if replace is not None:
            reasons.append(
                f"A vocabulary of its own would take {1 - replace.compute:+.0%} fewer tokens: too little for learning its rows anew."
            )
        return "prune", reasons
    return "keep", [f"The base cuts a word into {keep.fertility:.2f} tokens; no candidate saves five per cent of them."]


def _encode(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[list[int]]:
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    found: list[list[int]] = []
    for start in range(0, len(texts), 10_000):
        found += [item.ids for item in backend.encode_batch_fast(texts[start : start + 10_000], add_special_tokens=False)]
    return found


def _lengths(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> np.ndarray:
    return np.array([len(ids) for ids in _encode(tokenizer, texts)])


def _surfaces(tokenizer: PreTrainedTokenizerFast) -> set[str]:
    """Spellings without the marks of a word's beginning or inside."""
    return {token.removeprefix("##").removeprefix("▁").removeprefix("Ġ") for token in tokenizer.get_vocab()}
