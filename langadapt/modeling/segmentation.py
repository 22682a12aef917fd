"""How a tokenizer cuts a text, and whether to keep, prune, extend or replace a vocabulary."""

from __future__ import annotations

import importlib.util
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from langadapt.errors import DataError
from langadapt.modeling.token_ids import plain_backend, token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ENOUGH = 1_000_000
"""Words of text below which a new vocabulary's rows cannot be learnt well."""

FREQUENT = 5
"""Occurrences from which a distinct word counts in the fragment score."""


@dataclass(frozen=True)
class Cut:
    """How a tokenizer cuts a text.  Words stand between white space; in scripts that set none, ICU's dictionaries tell them apart.

    Tokens are counted in the text itself: alone, a word would be cut as the beginning of a text is.

    Args:
        vocabulary: entries.
        used: share of the entries that the whole text uses.
        fertility: tokens per word (Rust et al. 2021, arXiv:2012.15613); below one where a token holds several words.
        continued: share of words in which, or in the space before which, more than one token begins.
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


def split(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """(to train candidates on, to measure on): every tenth of the distinct texts is held out.

    Raises:
        DataError: fewer than 50 distinct texts.
    """
    texts = list(dict.fromkeys(texts))
    if len(texts) < 50:
        raise DataError(f"{len(texts)} texts are too few to advise on", hint="Give at least 50, better thousands: --corpus PATH.")
    return [text for i, text in enumerate(texts) if i % 10], texts[::10]


def spelling(base: PreTrainedTokenizerFast) -> dict[str, bool]:
    """Whether a base lower-cases and drops Latin accents, as options of the trainers: a vocabulary in its place is to do the same."""
    normalizer = base.backend_tokenizer.normalizer
    shown = unicodedata.normalize("NFC", normalizer.normalize_str("É") if normalizer is not None else "É")
    return {"lowercase": shown == shown.lower(), "strip_accents": "é" not in shown.lower()}


def compare(
    tokenizers: Mapping[str, PreTrainedTokenizerFast], failed: dict[str, str], train: list[str], held: list[str], width: int
) -> Advice:
    """Measure every candidate on the held-out texts and recommend one.

    Args:
        tokenizers: by name, `keep` among them.
        failed: why others could not be made, by name.
        train, held: as :func:`split` parts them.
        width: of the base's input rows.

    Raises:
        DataError: there is no word, or the words of this script cannot be told apart here.
    """
    texts = [*train, *held]
    places_of = word_places(texts)
    counts = Counter(text[start:end] for text in texts for start, end in places_of(text))
    places = [places_of(text) for text in held]
    words = sum(map(len, places))
    if not words:
        raise DataError("the held-out texts have no word", hint="Give text: --corpus PATH.")
    frequent = sorted(word for word, count in counts.items() if count >= FREQUENT)
    base = tokenizers["keep"]
    reference = sum(map(len, _encode(base, held)))
    shared = _surfaces(base)
    cuts = {name: measure(tokenizer, texts, held, places, frequent, reference, shared, width) for name, tokenizer in tokenizers.items()}
    choice, reasons = recommend(cuts, sum(counts.values()))
    return Advice(cuts, failed, choice, reasons, len(held), words)


UNSPACED = ("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
"""How Unicode's names begin for letters of scripts that set no white space between words."""


Places = list[tuple[int, int]]
"""Words of a text, (start, end) in characters."""


def word_places(texts: list[str]) -> Callable[[str], Places]:
    """What finds the words of these texts: white space, or ICU where most letters of the first thousand are of a script without.

    Raises:
        DataError: ICU is needed and not installed.
    """
    return _icu_places if _unspaced(texts) else _spaced_places


def splitter(texts: list[str]) -> Callable[[str], list[str]]:
    """What cuts these texts into words, as :func:`word_places` finds them.

    Raises:
        DataError: ICU is needed and not installed.
    """
    return _icu_words if _unspaced(texts) else str.split


def unspaced_share(texts: Iterable[str]) -> float:
    """Share of the letters that are of a script without white space between words."""
    counts = Counter(letter for text in texts for letter in text if letter.isalpha())
    return sum(n for letter, n in counts.items() if unicodedata.name(letter, "").startswith(UNSPACED)) / max(counts.total(), 1)


def _unspaced(texts: list[str]) -> bool:
    share = unspaced_share(texts[:1000])
    if share <= 0.5:
        return False
    if importlib.util.find_spec("icu4py") is None:
        raise DataError(
            f"{share:.0%} of the letters are of a script that sets no white space: its words cannot be told apart",
            hint="Install the plugin langadapt-objectives: it brings ICU, which knows these words.",
        )
    return True


def _icu_words(text: str) -> list[str]:
    return [text[start:end] for start, end in _icu_places(text)]


def _icu_places(text: str) -> Places:
    return [(start, end) for start, end in icu_segments(text) if any(map(str.isalnum, text[start:end]))]


def icu_segments(text: str) -> list[tuple[int, int]]:
    """Words, and what stands between them, as (start, end) in characters; by the Unicode rules (UAX #29) and ICU's dictionaries."""
    from icu4py.breakers import WordBreaker

    found: list[tuple[int, int]] = list(WordBreaker(text, "root").segments())
    if text.isascii() or max(text, default="") <= "\uffff":
        return found
    units = np.cumsum([0, *(1 + (letter > "\uffff") for letter in text)])  # ICU counts UTF-16 units: an emoji is two
    places = np.searchsorted(units, np.array(found))
    return [(int(start), int(end)) for start, end in places]


def _spaced_places(text: str) -> Places:
    return [found.span() for found in re.finditer(r"\S+", text)]


def tokens_of_words(tokenizer: PreTrainedTokenizerFast, texts: list[str], places: list[Places]) -> list[WordTokens]:
    """How many tokens each word of each text takes, in the text."""
    backend = plain_backend(tokenizer)
    found = []
    for start in range(0, len(texts), 1000):
        block = texts[start : start + 1000]
        encoded = backend.encode_batch(block, add_special_tokens=False)
        for words, item in zip(places[start : start + 1000], encoded, strict=True):
            # A token belongs to the word that it begins in, or before which it begins: a mark of a beginning may stand alone.
            word = np.searchsorted([end for _, end in words], [begin for begin, _ in item.offsets], side="right")
            counts = np.bincount(word, minlength=len(words) + 1)[: len(words)]
            found.append(WordTokens(counts, len(item.ids), sum(i == tokenizer.unk_token_id for i in item.ids)))
    return found


@dataclass(frozen=True)
class WordTokens:
    """Of one text: tokens that begin in each word, (words,); all tokens; unknown ones."""

    words: np.ndarray
    tokens: int
    unknown: int


def measure(
    tokenizer: PreTrainedTokenizerFast,
    texts: list[str],
    held: list[str],
    places: list[Places],
    frequent: list[str],
    reference: int,
    shared: set[str],
    width: int,
) -> Cut:
    """One tokenizer on held-out texts.

    Args:
        texts: all of them.
        places: the words of the held-out texts.
        frequent: words for the fragment score.
        reference: the base's tokens of the held-out texts.
        shared: spellings of the base's pieces.
        width: of an input row.
    """
    found = tokens_of_words(tokenizer, held, places)
    words = np.concatenate([one.words for one in found])
    lengths = np.array([one.tokens for one in found])
    fragments = np.array([len(ids) for ids in _encode(tokenizer, frequent)])
    used = {i for ids in _encode(tokenizer, texts) for i in ids}
    return Cut(
        vocabulary=len(tokenizer),
        used=len(used) / len(tokenizer),
        fertility=float(lengths.sum() / len(words)),
        continued=float((words > 1).mean()),
        unknown=sum(one.unknown for one in found) / max(int(lengths.sum()), 1),
        fragments=float(fragments.mean()) if len(fragments) else None,
        overlap=len(shared & _surfaces(tokenizer)) / max(len(_surfaces(tokenizer)), 1),
        tokens=float(lengths.mean()),
        tokens_95=float(np.percentile(lengths, 95)),
        compute=float(lengths.sum() / max(reference, 1)),
        embedding_mb=len(tokenizer) * width * 4 / 1e6,
    )


def recommend(cuts: Mapping[str, Cut], words: int) -> tuple[str, list[str]]:
    """(keep, prune, extend or replace; the evidence in sentences).

    Replacing pays where the base leaves text unknown, or its words in shreds and there is text to learn the rows from: every one that is
    not copied must be learnt again.  Extending pays from five per cent of the tokens on.  Pruning pays where most rows are idle, unless
    the held-out texts need some of them.

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
    if prune is not None and (prune.compute > 1.02 or prune.unknown > keep.unknown + 0.005):
        reasons = [f"Pruning to this text would cost{_cost(keep, prune).removeprefix(', for')}: it is too little to tell what is idle."]
        return "keep", reasons
    if prune is not None:
        freed = keep.vocabulary - prune.vocabulary
        reasons = [
            f"{1 - keep.used:.0%} of the rows are idle on this text: pruning frees {freed:,} of {keep.vocabulary:,}{_cost(keep, prune)}."
        ]
        if replace is not None:
            reasons.append(_against(replace, enough))
        return "prune", reasons
    return "keep", [f"The base cuts a word into {keep.fertility:.2f} tokens; no candidate saves five per cent of them."]


def _cost(keep: Cut, prune: Cut) -> str:
    """What pruning changes on the held-out texts."""
    if prune.compute == 1.0 and prune.unknown == keep.unknown:
        return " and cuts the held-out texts as before"
    return f", for {prune.compute - 1:+.2%} tokens and {prune.unknown:.2%} unknown ones ({keep.unknown:.2%} before) on the held-out texts"


def _against(replace: Cut, enough: bool) -> str:
    """Why not a vocabulary of its own."""
    if replace.compute >= 1:
        return f"A vocabulary of its own would take {replace.compute - 1:.0%} more tokens."
    reason = (
        "too little for learning its rows anew" if replace.compute >= 0.7 or enough else "but there is little text to learn its rows from"
    )
    return f"A vocabulary of its own would take {1 - replace.compute:.0%} fewer tokens: {reason}."


def _encode(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[list[int]]:
    starts = range(0, len(texts), 10_000)  # what Rust holds of a text takes far more memory than its ids
    return [ids for start in starts for ids in token_ids(tokenizer, texts[start : start + 10_000], special_tokens=False)]


def _surfaces(tokenizer: PreTrainedTokenizerFast) -> set[str]:
    """Spellings without the marks of a word's beginning or inside."""
    return {token.removeprefix("##").removeprefix("▁").removeprefix("Ġ") for token in tokenizer.get_vocab()}
