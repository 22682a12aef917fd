"""What the initialisations share: a common spelling of pieces, and sparse weights from lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse import csr_array

from langadapt.registry.kinds import Vocab

OWN = "\0"
"""Begins the spelling of what no other tokenizer type spells: special tokens, and bytes that are no text by themselves."""


def canonical_tokens(vocab: Vocab) -> list[str]:
    """Every token in one spelling across tokenizer types: ``▁`` before a piece that begins a word, nothing before others.

    ``##ing`` (WordPiece) → ``ing``; ``the`` (WordPiece), ``Ġthe`` (byte-level BPE) and ``▁the`` (SentencePiece) → ``▁the``;
    byte-level pieces are decoded.  The type is the tokenizer's own: large vocabularies hold pieces like ``###`` by chance.
    """
    spell: Callable[[str], str] = str
    if is_byte_level(vocab):
        spell = _from_bytes
    elif getattr(vocab.tokenizer.backend_tokenizer.model, "continuing_subword_prefix", None) == "##":
        spell = _from_wordpiece
    special = {index: role for role, index in vocab.special.items()}
    return [OWN + special[index] if index in special else spell(token) for index, token in enumerate(vocab.tokens)]


def is_byte_level(vocab: Vocab) -> bool:
    """Whether the pieces spell bytes, as GPT-2's and RoBERTa's do."""
    backend = vocab.tokenizer.backend_tokenizer
    return type(backend.model).__name__ == "BPE" and "ByteLevel" in repr(backend.pre_tokenizer)


def _from_wordpiece(token: str) -> str:
    return token[2:] if token.startswith("##") else "▁" + token


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


def shared_ids(old: Vocab, new: Vocab) -> dict[int, int]:
    """New id → old id of the tokens both vocabularies have, special tokens matched by role."""
    places = {token: index for index, token in reversed(list(enumerate(canonical_tokens(old))))}
    found = {index: places[token] for index, token in enumerate(canonical_tokens(new)) if token in places}
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
