"""What the initialisations share: a common spelling of pieces, and sparse weights from lists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array

from langadapt.registry.kinds import Vocab


def canonical(token: str) -> str:
    """One spelling across tokenizer types: ``▁`` for a piece that begins a word, nothing for one that continues it.

    ``##ing`` (WordPiece) → ``ing``; ``Ġthe`` (byte-level BPE) and ``▁the`` (SentencePiece) → ``▁the``.
    """
    if token.startswith("##"):
        return token[2:]
    return "▁" + token[1:] if token.startswith("Ġ") else token


def canonical_tokens(vocab: Vocab) -> list[str]:
    """Every token of a vocabulary in the common spelling; special tokens get a spelling no piece has."""
    wordpiece = any(token.startswith("##") for token in vocab.tokens)
    special = {index: role for role, index in vocab.special.items()}
    found = []
    for index, token in enumerate(vocab.tokens):
        if index in special:
            found.append(f"\0{special[index]}")
        elif wordpiece and not token.startswith("##"):
            found.append("▁" + token)
        else:
            found.append(canonical(token))
    return found


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
