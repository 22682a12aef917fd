"""What the initialisations share: a common spelling of pieces, and sparse weights from lists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from langadapt.contracts import Vocab
from langadapt.contracts.text import recompose

OWN = "\0"
"""Begins the spelling of what no other tokenizer type spells: special tokens, and bytes that are no text by themselves."""


END = "</w>"
"""Ends a piece that ends a word, in a vocabulary that marks the ends of words and not their beginnings (HerBERT, XLM)."""


def canonical_tokens(vocab: Vocab) -> list[str]:
    """Every token in one spelling across tokenizer types: ``▁`` before a piece that begins a word, nothing before others.

    ``##ing`` (WordPiece) → ``ing``; ``the`` (WordPiece), ``Ġthe`` (byte-level BPE) and ``▁the`` (SentencePiece) → ``▁the``;
    byte-level pieces are decoded, characters taken apart are put together.  A vocabulary that marks ends keeps the mark, as
    ``</w>``: it does not tell where a word begins (:func:`readings`).  The type is the tokenizer's own: large vocabularies hold
    pieces like ``###`` by chance.
    """
    model = vocab.tokenizer.backend_tokenizer.model
    prefix, suffix = (getattr(model, name, None) or "" for name in ("continuing_subword_prefix", "end_of_word_suffix"))
    of_bytes, apart = is_byte_level(vocab), is_decomposed(vocab)

    def spell(token: str) -> str:
        ends = suffix and token.endswith(suffix)
        text = token.removesuffix(suffix)
        if of_bytes:
            text = _from_bytes(text)
        elif prefix and not suffix:
            text = text[len(prefix) :] if text.startswith(prefix) else "▁" + text
        if apart and not text.startswith(OWN):
            text = recompose(text)
        return text + END if ends else text

    special = {index: role for role, index in vocab.special.items()}
    return [f"{OWN}{special[i]}" if i in special else spell(token) if token else f"{OWN}{i}" for i, token in enumerate(vocab.tokens)]


def is_byte_level(vocab: Vocab) -> bool:
    """Whether the pieces spell bytes, as GPT-2's and RoBERTa's do."""
    backend = vocab.tokenizer.backend_tokenizer
    return type(backend.model).__name__ == "BPE" and "ByteLevel" in repr(backend.pre_tokenizer)


def is_decomposed(vocab: Vocab) -> bool:
    """Whether the pieces spell parts of characters: jamo, consonants and vowels of Ethiopic syllables."""
    normalizer = vocab.tokenizer.backend_tokenizer.normalizer
    return normalizer is not None and len(normalizer.normalize_str("한")) > 1


def marks_ends(vocab: Vocab) -> bool:
    """Whether the pieces tell where a word ends, and not where it begins."""
    return bool(getattr(vocab.tokenizer.backend_tokenizer.model, "end_of_word_suffix", None))


@dataclass(frozen=True)
class Surface:
    """A piece's letters, and where it stands in a word as far as its vocabulary tells: else it counts as a word of its own."""

    text: str
    begins: bool
    ends: bool


def surface(token: str, of_ends: bool) -> Surface:
    """What a canonical token spells; nothing for special tokens, bytes that are no text, and parts that make no character.

    Args:
        of_ends: whether its vocabulary marks the ends of words.
    """
    if token.startswith(OWN):
        return Surface("", False, False)
    text = token.removeprefix("▁").removesuffix(END if of_ends else "")
    bare = _PARTS.sub("", text)
    return Surface(bare or text, of_ends or token.startswith("▁"), not of_ends or token.endswith(END))


_PARTS = re.compile("^[\u1160-\u11ff\ue001-\ue007]+|[\u1100-\u115f]+$|[\ue001-\ue007]")
"""What is left over at a piece's edges when characters were taken apart: no other vocabulary spells it."""


def readings(token: str, of_ends: bool) -> list[str]:
    """Canonical spellings that a token may have among tokens that mark beginnings, likeliest first."""
    if not of_ends or token.startswith(OWN):
        return [token]
    text = token.removesuffix(END)
    return [f"▁{text}", text]


def _from_bytes(token: str) -> str:
    try:
        text = bytes(BYTES[c] for c in token).decode("utf-8")
    except KeyError:  # an added token, spelt as it is
        return token
    except UnicodeDecodeError:
        return OWN + token
    return "▁" + text[1:] if text.startswith(" ") else text


def _bytes() -> dict[str, int]:
    """GPT-2's letter for each byte, the other way round: printable ones stand for themselves, the rest follow from U+0100 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}


BYTES = _bytes()


def places(vocab: Vocab, of_ends: bool) -> dict[str, int]:
    """Canonical spelling → id, the lowest where several are spelt alike.

    Args:
        of_ends: whether the tokens that will be looked up mark the ends of words.  If they do not, and this vocabulary does, its
            tokens are found under their readings, those that end words first.
    """
    spelt, own = canonical_tokens(vocab), marks_ends(vocab)
    order = range(len(spelt))
    if own and not of_ends:
        found: dict[str, int] = {}
        for index in sorted(order, key=lambda i: not spelt[i].endswith(END)):
            for reading in readings(spelt[index], True):
                found.setdefault(reading, index)
        return found
    return {spelt[index]: index for index in reversed(order)}


def shared_ids(old: Vocab, new: Vocab) -> dict[int, int]:
    """New id → old id of the tokens both vocabularies have, special tokens matched by role."""
    of_ends = marks_ends(new)
    there = places(old, of_ends)
    ask = of_ends and not marks_ends(old)
    found = {}
    for index, token in enumerate(canonical_tokens(new)):
        match = next((there[reading] for reading in readings(token, ask) if reading in there), None)
        if match is not None:
            found[index] = match
    for role, index in new.special.items():  # one id may have several roles (cls and bos)
        if role in old.special:
            found[index] = old.special[role]
    return found


def sparse(rows: Sequence[Sequence[int]], columns: int) -> csr_array:
    """Weights (n, columns) with each row spread evenly over its ids; an empty list leaves a row of zeros."""
    counts = np.array([len(row) for row in rows])
    indices = np.array([i for row in rows for i in row], dtype=np.int64)
    data = np.repeat(1.0 / np.maximum(counts, 1), counts).astype(np.float32)
    return csr_array((data, indices, np.r_[0, np.cumsum(counts)]), shape=(len(rows), columns))
