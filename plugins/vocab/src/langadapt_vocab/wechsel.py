"""wechsel: two static word spaces, aligned by a dictionary, say which old tokens a new one is like."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from scipy.sparse import csr_array

from langadapt.contracts import Context, Mixture, Resource, Vocab, VocabInit
from langadapt.contracts.text import token_ids
from langadapt.errors import DataError, ModelError
from langadapt_vocab.dictionary import read_dictionary
from langadapt_vocab.simple import drawn
from langadapt_vocab.static import Sentences, Space, read_space, train_space, unit

CHUNK = 128
"""New tokens compared with all old ones at once: 128 times 250,000 cosines are 128 MB."""

LEAST = 50
"""Dictionary pairs below which two spaces of as many dimensions or more are aligned by chance."""


class Wechsel(VocabInit):
    """A new token is a softmax-weighted mean of its `neighbours` most similar old tokens.

    Minixhofer, Paischer & Rekabsaz 2022 (arXiv:2112.06598).  Words of the two languages are brought into one space by the
    orthogonal map that takes dictionary words to their translations (Schönemann 1966); a token's place is the mean of the words
    it occurs in, by frequency.  Nothing is copied but special tokens: the same letters are often another word.
    """

    name: ClassVar[str] = "wechsel"
    version: ClassVar[str] = "3"

    dictionary: Resource
    old_vectors: Resource
    """Word vectors of the old language."""
    new_vectors: Resource | None = None
    """Word vectors of the new language; None trains them on the stage's corpus."""
    neighbours: Annotated[int, Field(ge=1)] = 10
    temperature: Annotated[float, Field(gt=0)] = 0.1
    dimensions: Annotated[int, Field(ge=8, le=1000)] = 100
    epochs: Annotated[int, Field(ge=1)] = 5
    min_count: Annotated[int, Field(ge=1)] = 3

    def mixture(self, old: Vocab, new: Vocab, texts: Iterable[str] | None, ctx: Context) -> Mixture:
        """The mixture.

        Raises:
            ModelError: no vectors and no text of the new language.
            DataError: the dictionary joins fewer than 50 words, or a vocabulary spells none of its vectors' words.
        """
        left = read_space(self.old_vectors, ctx)
        right = self._new_space(texts, ctx)
        rotation = self._aligned(left, right, ctx)
        of_old, old_known = token_places(old, Space(left.words, left.vectors @ rotation))
        of_new, new_known = token_places(new, right)
        for side, known in (("old", old_known), ("new", new_known)):
            if not known.any():
                raise DataError(
                    f"no piece of the {side} vocabulary spells a word of its vectors",
                    where=(self.old_vectors if side == "old" else self.new_vectors or self.dictionary).name,
                    hint="Check that base, vectors and dictionary are of the same languages, in this order.",
                )
        special = {new.special[role]: old.special[role] for role in new.special if role in old.special}
        placed = np.array([i for i in np.flatnonzero(new_known) if i not in special], dtype=np.int64)
        near = nearest(of_new[placed], of_old, np.flatnonzero(old_known), self.neighbours, self.temperature)
        rows = np.concatenate([np.array(list(special), dtype=np.int64), np.repeat(placed, near[0].shape[1])])
        columns = np.concatenate([np.array(list(special.values()), dtype=np.int64), near[0].ravel()])
        values = np.concatenate([np.ones(len(special), dtype=np.float32), near[1].ravel()])
        words = ["mean of all"] * len(new.tokens)
        for i in placed:
            words[int(i)] = "weighted by a static space"
        for i in special:
            words[i] = "copied"
        missing = [i for i, word in enumerate(words) if word == "mean of all"]
        weights = csr_array((values, (rows, columns)), shape=(len(new.tokens), len(old.tokens)))
        return Mixture(weights, words, drawn(old, missing, ctx, spread=0.01))

    def _new_space(self, texts: Iterable[str] | None, ctx: Context) -> Space:
        if self.new_vectors is not None:
            return read_space(self.new_vectors, ctx)
        if texts is None:
            raise ModelError("wechsel needs word vectors of the new language, or text to train them on: name the stage's 'corpus'")
        return train_space(Sentences(list(texts)), self.dimensions, self.epochs, self.min_count, ctx)

    def _aligned(self, left: Space, right: Space, ctx: Context) -> np.ndarray:
        """(k_old, k_new) orthogonal map from the old space into the new one."""
        places_left, places_right = left.folded(), right.folded()
        pairs = read_dictionary(self.dictionary, ctx)
        joined = [(places_left[a], places_right[b]) for a, b in pairs if a in places_left and b in places_right]
        if len(joined) < min(LEAST, left.vectors.shape[1], right.vectors.shape[1]):
            raise DataError(
                f"{len(joined)} of {len(pairs):,} dictionary pairs have vectors on both sides: two spaces cannot be aligned by that",
                where=self.dictionary.name,
                hint="Give a larger dictionary or larger spaces, and check which column is which language.",
            )
        ctx.log.info(f"{len(joined):,} of {len(pairs):,} dictionary pairs align the spaces")
        a, b = np.array(joined).T
        u, _, v = np.linalg.svd(left.vectors[a].T @ right.vectors[b], full_matrices=False)
        found: np.ndarray = (u @ v).astype(np.float32)
        return found


def token_places(vocab: Vocab, space: Space) -> tuple[np.ndarray, np.ndarray]:
    """A vocabulary's tokens in a word space: (V, k) unit rows, and which tokens occur in a word of the space, (V,) bool.

    Files of vectors are sorted by frequency, so a word's weight is one over its rank (Zipf).
    """
    encoded = token_ids(vocab.tokenizer, space.words, special_tokens=False)
    counts = [len(ids) for ids in encoded]
    tokens = np.fromiter(chain.from_iterable(encoded), dtype=np.int64, count=sum(counts))
    words = np.repeat(np.arange(len(counts)), counts)
    weights = csr_array((1.0 / (1.0 + words), (tokens, words)), shape=(len(vocab.tokens), len(counts)))
    rows = np.asarray(weights @ space.vectors, dtype=np.float32)
    known = np.zeros(len(vocab.tokens), dtype=bool)
    known[tokens] = True
    known[list(vocab.special.values())] = False
    return unit(rows), known


def nearest(queries: np.ndarray, table: np.ndarray, allowed: np.ndarray, k: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """The k most similar allowed rows of each query, (n, k) row numbers, and their softmax weights, (n, k) float32."""
    import torch

    k = min(k, len(allowed))
    anchors = torch.from_numpy(np.ascontiguousarray(table[allowed])).T.contiguous()
    places, weights = [], []
    for start in range(0, len(queries), CHUNK):
        values, chosen = torch.topk(torch.from_numpy(queries[start : start + CHUNK]) @ anchors, k, dim=1)
        places.append(allowed[chosen.numpy()])
        weights.append(torch.softmax(values / temperature, dim=1).numpy())
    if not places:
        return np.zeros((0, k), dtype=np.int64), np.zeros((0, k), dtype=np.float32)
    return np.concatenate(places), np.concatenate(weights)
