"""focus: a new token is a sparse mixture of the shared tokens nearest to it in a static space of the new language."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy.sparse import csr_array

from langadapt.contracts import Context, Mixture, Resource, Vocab, VocabInit
from langadapt.errors import DataError, ModelError
from langadapt_vocab.shared import canonical_tokens, marks_ends, shared_ids, surface
from langadapt_vocab.simple import drawn
from langadapt_vocab.static import FastText, read_space, spelt_tokens, token_space, unit

if TYPE_CHECKING:
    import torch

CHUNK = 1024
"""New tokens compared with all anchors at once: memory is CHUNK × anchors, never V × V."""


class Focus(VocabInit):
    """Copy shared tokens; weight them by sparsemax of cosine similarity for every other one.

    Dobler & de Melo 2023 (arXiv:2305.14481); sparsemax: Martins & Astudillo 2016 (arXiv:1602.02068).  The static space is fastText on the
    corpus cut by the new tokenizer, or with `vectors` word vectors of the language in which each token is looked up as it is written.
    Tokens without a place there are drawn around the mean of the old rows.

    The authors' package (konstantinjdobler/focus, c98a81c) trains CBOW with ten negatives, gives tokens a place from ten occurrences on,
    and draws the others with all of the old rows' deviation: ``{skip_gram: false, negative: 10, min_count: 10, spread: 1}``.  On a corpus
    of a few megabytes that ended worse than the defaults here (docs/results/vocab-init.md).  What differs either way: gensim's fastText in
    one thread and with 100,000 buckets for n-grams (fastText's own has two million), so that equal text gives an equal space.  Special
    tokens are shared by their role and are no anchors.
    """

    name: ClassVar[str] = "focus"
    version: ClassVar[str] = "3"

    dimensions: Annotated[int, Field(ge=8, le=1000)] = 100
    epochs: Annotated[int, Field(ge=1)] = 3
    min_count: Annotated[int, Field(ge=1)] = 5
    """Occurrences that a token needs for a place of its own."""
    skip_gram: bool = True
    negative: Annotated[int, Field(ge=1)] = 5
    vectors: Resource | None = None
    """Word vectors of the new language (the authors' ``fasttext-wordlevel``): fastText's ``.bin``, whose n-grams give any token a place, or
    text, where a token must be a word."""
    match: Literal["exact", "fuzzy"] = "exact"
    """``fuzzy`` also takes tokens for shared that are alike but for case and for standing at a word's beginning."""
    spread: Annotated[float, Field(ge=0)] = 0.01
    """Deviation of what is drawn, in those of the old rows."""

    def mixture(self, old: Vocab, new: Vocab, texts: Iterable[str] | None, ctx: Context) -> Mixture:
        """Raises ModelError with neither corpus nor vectors, DataError when no shared token has a place in the space."""
        if texts is None and self.vectors is None:
            raise ModelError("focus needs text: name the stage's 'corpus', or give word vectors of the language")
        shared = shared_ids(old, new)
        if self.match == "fuzzy":
            shared = _fuzzy(old, new) | shared
        vectors, known = self._space(new, texts, ctx)
        special = set(new.special.values())
        anchors = np.array([i for i in sorted(shared) if known[i] and i not in special], dtype=np.int64)
        if not len(anchors):
            raise DataError(
                "the old and the new vocabulary share no token with a place in the static space: there is nothing to mix new rows from",
                hint="Use the vocab-init 'mean-subword', or 'wechsel' with a dictionary.",
            )
        fresh = np.array([i for i in range(len(new.tokens)) if i not in shared], dtype=np.int64)
        placed = fresh[known[fresh]]
        mixed = sparsemax_weights(vectors[placed], vectors[anchors])
        ctx.log.info(
            f"{len(anchors):,} anchors, {len(placed):,} tokens mixed from {mixed.nnz / max(len(placed), 1):.1f} of them on average"
        )
        old_of_anchor = np.array([shared[i] for i in anchors], dtype=np.int64)
        weights = _assemble(shared, placed, mixed, old_of_anchor, (len(new.tokens), len(old.tokens)))
        missing = sorted(set(fresh.tolist()) - set(placed.tolist()))
        words = ["random"] * len(new.tokens)
        for i in shared:
            words[i] = "copied"
        for i in placed:
            words[int(i)] = "weighted by a static space"
        return Mixture(weights, words, drawn(old, missing, ctx, spread=self.spread))

    def _space(self, new: Vocab, texts: Iterable[str] | None, ctx: Context) -> tuple[np.ndarray, np.ndarray]:
        """Unit vectors (V, k) of the new tokens, and which have one, (V,) bool."""
        if self.vectors is not None:
            vectors, known = spelt_tokens(new, read_space(self.vectors, ctx))
            return unit(vectors), known
        assert texts is not None
        how = FastText(self.dimensions, self.epochs, self.min_count, self.skip_gram, self.negative)
        return token_space(new, texts, how, ctx)


def _fuzzy(old: Vocab, new: Vocab) -> dict[int, int]:
    """New id → old id of tokens that are alike but for case and place in a word.

    Of several old ones it is the one that is spelt so itself, small and inside words, else the first.
    """
    of_ends = marks_ends(old)
    there: dict[str, int] = {}
    for index, token in enumerate(canonical_tokens(old)):
        form = _loose(token, of_ends)
        if token == form or form not in there:
            there[form] = index
    there.pop("", None)
    of_ends = marks_ends(new)
    loose = [_loose(token, of_ends) for token in canonical_tokens(new)]
    return {index: there[token] for index, token in enumerate(loose) if token in there}


def _loose(token: str, of_ends: bool) -> str:
    return surface(token, of_ends).text.lower()


def sparsemax_weights(queries: np.ndarray, anchors: np.ndarray) -> csr_array:
    """Sparsemax of the cosines of unit rows: (n, k) and (m, k) → (n, m) sparse, rows summing to one."""
    import torch

    table = torch.from_numpy(np.ascontiguousarray(anchors)).T.contiguous()
    indices, data, counts = [], [], []
    room = torch.empty(min(CHUNK, len(queries)), len(anchors))  # one for all: fresh pages cost a fifth of a product's time
    for start in range(0, len(queries), CHUNK):
        part = torch.from_numpy(queries[start : start + CHUNK])
        places, values = _sparsemax(torch.mm(part, table, out=room[: len(part)]))
        kept = values > 0
        counts.append(kept.sum(1).numpy())
        indices.append(places[kept].numpy())
        data.append(values[kept].numpy())
    if not indices:
        return csr_array((0, len(anchors)), dtype=np.float32)
    pointer = np.r_[0, np.cumsum(np.concatenate(counts))]
    found = csr_array((np.concatenate(data), np.concatenate(indices), pointer), shape=(len(queries), len(anchors)))
    found.sort_indices()
    return found


GROUP = 64
"""Scores of which one maximum is kept for a first bound."""


def _sparsemax(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Columns and weights (n, s) of each row's support, padded with zero weights (Martins & Astudillo 2016, arXiv:1602.02068).

    The threshold over some of a row's scores is a lower bound of the threshold over all: the maxima of groups of columns leave few
    candidates, and only these are sorted.
    """
    import torch

    whole = scores.shape[1] // GROUP * GROUP
    maxima = scores[:, :whole].reshape(len(scores), -1, GROUP).amax(2) if whole else scores
    bound = (_threshold(maxima.sort(dim=1, descending=True).values) - 1e-6).float()  # rounded, it may leave no candidate out
    candidates = scores > bound[:, None]
    rows, columns = candidates.nonzero(as_tuple=True)
    counts = rows.bincount(minlength=len(scores))  # a sum over the mask takes as long as half the product
    slots = torch.arange(len(rows)) - (counts.cumsum(0) - counts)[rows]
    values = torch.full((len(scores), int(counts.max())), float("-inf"))
    places = torch.zeros(values.shape, dtype=torch.int64)
    values[rows, slots], places[rows, slots] = scores[rows, columns], columns
    values, order = values.sort(dim=1, descending=True, stable=True)
    return places.gather(1, order), (values - _threshold(values)[:, None]).clamp(min=0).float()


def _threshold(values: torch.Tensor) -> torch.Tensor:
    """Sparsemax's threshold of each row, (n,) float64, of scores sorted downwards."""
    import torch

    exact = values.double()
    sums = exact.cumsum(1)  # a wide support adds up hundreds of nearly equal terms
    support = (1 + torch.arange(1, values.shape[1] + 1) * exact > sums).sum(1)
    found: torch.Tensor = (sums.gather(1, support[:, None] - 1)[:, 0] - 1) / support
    return found


def _assemble(shared: dict[int, int], placed: np.ndarray, mixed: csr_array, columns: np.ndarray, shape: tuple[int, int]) -> csr_array:
    """Copies and mixtures in one matrix (V_new, V_old)."""
    copies = np.array(sorted(shared), dtype=np.int64)
    rows = np.concatenate([copies, np.repeat(placed, np.diff(mixed.indptr))])
    places = np.concatenate([np.array([shared[int(i)] for i in copies], dtype=np.int64), columns[mixed.indices]])
    values = np.concatenate([np.ones(len(copies), dtype=np.float32), mixed.data.astype(np.float32)])
    return csr_array((values, (rows, places)), shape=shape)
