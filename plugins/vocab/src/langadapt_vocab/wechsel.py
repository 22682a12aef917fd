"""wechsel: two static word spaces, aligned by a dictionary, say which old tokens a new one is like."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy.sparse import csr_array

from langadapt.contracts import Context, Mixture, Resource, Vocab, VocabInit
from langadapt.contracts.text import token_ids
from langadapt.errors import DataError, ModelError
from langadapt_vocab.dictionary import read_dictionary
from langadapt_vocab.simple import drawn
from langadapt_vocab.static import FastText, Sentences, Space, read_space, spelt_tokens, train_space, unit

CHUNK = 128
"""New tokens compared with all old ones at once: 128 times 250,000 cosines are 128 MB."""

LEAST = 50
"""Dictionary pairs below which two spaces of as many dimensions or more are aligned by chance."""


class Wechsel(VocabInit):
    """A new token is a softmax-weighted mean of its `neighbours` most similar old tokens.

    Minixhofer, Paischer & Rekabsaz 2022 (arXiv:2112.06598); the authors' package (CPJKU/wechsel, 395e3d4).  Words of the two languages are
    brought into one space by the orthogonal map that takes dictionary words to their translations (Schönemann 1966), each pair in the
    file's case, in lower case and in title case.  A token's place is the vector that n-grams give its letters, the authors' default, or the
    mean of the words it occurs in, by frequency.  Nothing is copied but special tokens: the same letters are often another word.  Tokens
    without a place are drawn with the mean and deviation of the old rows.

    Spaces trained here are as the authors train theirs (CBOW, ten negatives, n-grams of five letters, 100 dimensions, 20 epochs), but by
    gensim in one thread with 100,000 buckets, and of words as this library tells them apart and not NLTK.
    """

    name: ClassVar[str] = "wechsel"
    version: ClassVar[str] = "4"

    dictionary: Resource
    old_vectors: Resource
    """Word vectors of the old language: fastText's ``.bin``, or text."""
    new_vectors: Resource | None = None
    """Word vectors of the new language; None trains them on the stage's corpus."""
    tokens: Literal["n-grams", "words"] | None = None
    """How a token is placed; None takes n-grams where both spaces know them, and words where one is text."""
    neighbours: Annotated[int, Field(ge=1)] = 10
    temperature: Annotated[float, Field(gt=0)] = 0.1
    dimensions: Annotated[int, Field(ge=8, le=1000)] = 100
    epochs: Annotated[int, Field(ge=1)] = 20
    min_count: Annotated[int, Field(ge=1)] = 5
    spread: Annotated[float, Field(ge=0)] = 1.0
    """Deviation of what is drawn, in those of the old rows."""

    def mixture(self, old: Vocab, new: Vocab, texts: Iterable[str] | None, ctx: Context) -> Mixture:
        """The mixture.

        Raises:
            ModelError: no vectors and no text of the new language, or n-grams asked of a space that has none.
            DataError: the dictionary joins fewer than 50 words, or a vocabulary spells none of its vectors' words.
        """
        left = read_space(self.old_vectors, ctx)
        right = self._new_space(texts, ctx)
        place = self._placing(left, right, ctx)
        rotation = self._aligned(left, right, ctx)
        (of_old, old_known), (of_new, new_known) = place(old, left), place(new, right)
        of_old, of_new = unit(of_old @ rotation), unit(of_new)
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
        words = ["random"] * len(new.tokens)
        for i in placed:
            words[int(i)] = "weighted by a static space"
        for i in special:
            words[i] = "copied"
        missing = [i for i, word in enumerate(words) if word == "random"]
        weights = csr_array((values, (rows, columns)), shape=(len(new.tokens), len(old.tokens)))
        return Mixture(weights, words, drawn(old, missing, ctx, spread=self.spread))

    def _new_space(self, texts: Iterable[str] | None, ctx: Context) -> Space:
        if self.new_vectors is not None:
            return read_space(self.new_vectors, ctx)
        if texts is None:
            raise ModelError("wechsel needs word vectors of the new language, or text to train them on: name the stage's 'corpus'")
        how = FastText(self.dimensions, self.epochs, self.min_count, n_grams=(5, 5))
        return train_space(Sentences(list(texts)), how, ctx)

    def _placing(self, left: Space, right: Space, ctx: Context) -> Callable[[Vocab, Space], tuple[np.ndarray, np.ndarray]]:
        able = left.model is not None and right.model is not None
        if self.tokens == "n-grams" and not able:
            raise ModelError(
                "wechsel: tokens are to be placed by n-grams, which vectors in text do not tell",
                hint="Give fastText's .bin on both sides, or say tokens: words.",
            )
        grams = able if self.tokens is None else self.tokens == "n-grams"
        ctx.log.info(f"tokens are placed by {'their n-grams' if grams else 'the words they occur in'}")
        return spelt_tokens if grams else token_places

    def _aligned(self, left: Space, right: Space, ctx: Context) -> np.ndarray:
        """(k_old, k_new) orthogonal map from the old space into the new one."""
        places_left, places_right = ({word: i for i, word in enumerate(space.words)} for space in (left, right))
        pairs = read_dictionary(self.dictionary, ctx, lower=False)
        cased = [(forms(a), forms(b)) for a, b in pairs]
        joined = [
            [(places_left[a], places_right[b]) for a in ours for b in theirs if a in places_left and b in places_right]
            for ours, theirs in cased
        ]
        known = sum(map(bool, joined))
        if known < min(LEAST, left.vectors.shape[1], right.vectors.shape[1]):
            raise DataError(
                f"{known} of {len(pairs):,} dictionary pairs have vectors on both sides: two spaces cannot be aligned by that",
                where=self.dictionary.name,
                hint="Give a larger dictionary or larger spaces, and check which column is which language.",
            )
        ctx.log.info(f"{known:,} of {len(pairs):,} dictionary pairs align the spaces")
        a, b = np.array([pair for found in joined for pair in found]).T
        u, _, v = np.linalg.svd(left.vectors[a].T @ right.vectors[b], full_matrices=False)
        found: np.ndarray = (u @ v).astype(np.float32)
        return found


def forms(word: str) -> tuple[str, str, str]:
    """A dictionary's word as it may stand among vectors: as given, in lower case, in title case.  Equal forms count each, as in the
    authors' code: most pairs so weigh more in lower case."""
    return word, word.lower(), word.title()


def token_places(vocab: Vocab, space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Means of words by frequency: (V, k) places of a vocabulary's tokens, and which tokens occur in a word of the space, (V,) bool.

    Each word is read alone and behind a space, as in the authors' code; a token that it has twice counts once a reading.
    """
    rows, columns = [], []
    for texts in (space.words, [f" {word}" for word in space.words]):
        encoded = [set(ids) for ids in token_ids(vocab.tokenizer, texts, special_tokens=False)]
        rows += list(chain.from_iterable(encoded))
        columns += np.repeat(np.arange(len(encoded)), [len(ids) for ids in encoded]).tolist()
    weights = csr_array((space.frequencies()[columns], (rows, columns)), shape=(len(vocab.tokens), len(space.words)))
    totals = np.maximum(np.asarray(weights.sum(1)).ravel(), 1e-30)
    found = np.asarray((weights / totals[:, None]) @ space.vectors, dtype=np.float32)
    known = np.zeros(len(vocab.tokens), dtype=bool)
    known[rows] = True
    known[list(vocab.special.values())] = False
    return found, known


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
