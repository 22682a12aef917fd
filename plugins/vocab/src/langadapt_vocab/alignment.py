"""alignment: a new piece starts at the old pieces that parallel sentences align it with (trans-tokenisation)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from scipy.sparse import csr_array

from langadapt.contracts import Context, Mixture, Resource, Vocab, VocabInit
from langadapt.contracts.reading import read_parallel
from langadapt.contracts.text import token_ids
from langadapt.errors import DataError
from langadapt_vocab.shared import shared_ids
from langadapt_vocab.subword import MeanSubword


class Alignment(VocabInit):
    """Mix the old pieces that a new one is aligned with in parallel sentences, weighted by how often.

    Trans-tokenisation (Remy et al. 2024, arXiv:2408.04303).  The aligner is IBM model 1 (Brown et al. 1993) with fast_align's pull
    towards the diagonal (Dyer et al. 2013), by expectation maximisation over all sentences at once.  Special tokens are copied; a
    piece that no sentence has goes as in `mean-subword`.  Unknown pieces align with nothing.
    """

    name: ClassVar[str] = "alignment"
    version: ClassVar[str] = "3"

    parallel: Resource
    """Sentences of the base's language and of the new one, two columns."""
    iterations: Annotated[int, Field(ge=1, le=50)] = 5
    max_sentences: Annotated[int, Field(ge=1)] = 100_000
    max_length: Annotated[int, Field(ge=2)] = 80
    """Longer sentences (in pieces, on either side) are left out: their alignments are poor."""
    min_count: Annotated[float, Field(gt=0)] = 1.0
    """Expected alignments that a new piece needs."""
    keep: Annotated[int, Field(ge=1)] = 10
    """Old pieces mixed into one, the strongest."""
    copy_shared: bool = False
    """Copy the tokens that both vocabularies have.  For languages that share a script but not their words, leave it off."""

    def mixture(self, old: Vocab, new: Vocab, texts: Iterable[str] | None, ctx: Context) -> Mixture:
        """Raises DataError when no pair of sentences is short enough and known, or fewer than two pieces can be aligned."""
        pairs = read_parallel(self.parallel, ctx)[: self.max_sentences]
        left, right = ids(old, [a for a, _ in pairs]), ids(new, [b for _, b in pairs])
        fits = [i for i in range(len(pairs)) if 0 < len(left[i]) <= self.max_length and 0 < len(right[i]) <= self.max_length]
        if not fits:
            raise DataError(
                f"none of {len(pairs):,} sentence pairs has 1 to {self.max_length} known pieces on either side",
                where=self.parallel.name,
                hint="Check that the base can spell its side; raise max_length, or split the sentences.",
            )
        counts = align([left[i] for i in fits], [right[i] for i in fits], (len(old.tokens), len(new.tokens)), self.iterations)
        placed = self._strongest(counts)
        aligned = int((np.diff(placed.indptr) > 0).sum())
        if aligned < 2:
            raise DataError(
                f"{len(fits):,} sentence pairs align {aligned} of {len(new.tokens):,} new pieces: they say nothing of the rest",
                where=self.parallel.name,
                hint="Give more pairs, and check which column is which language.",
            )
        ctx.log.info(f"{len(fits):,} sentence pairs align {aligned:,} of {len(new.tokens):,} new pieces")
        return self._with_rest(placed, old, new, texts, ctx)

    def _strongest(self, counts: csr_array) -> csr_array:
        """(V_new, V_old) rows that sum to one over the strongest old pieces; empty for pieces seen too rarely."""
        rows, columns, values = [], [], []
        for i in np.flatnonzero(np.asarray(counts.sum(axis=1)).reshape(-1) >= self.min_count):
            low, high = counts.indptr[i], counts.indptr[i + 1]
            best = low + np.argsort(-counts.data[low:high], kind="stable")[: self.keep]
            share = counts.data[best] / counts.data[best].sum()
            rows += [i] * len(best)
            columns += counts.indices[best].tolist()
            values += share.tolist()
        return csr_array((np.array(values, dtype=np.float32), (rows, columns)), shape=counts.shape)

    def _with_rest(self, placed: csr_array, old: Vocab, new: Vocab, texts: Iterable[str] | None, ctx: Context) -> Mixture:
        """Aligned rows, copies of special (and, if asked, shared) tokens, `mean-subword` for the rest."""
        rest = MeanSubword().mixture(old, new, texts, ctx)
        special = set(new.special.values())
        copied = special | (set(shared_ids(old, new)) if self.copy_shared else set())
        aligned = np.diff(placed.indptr) > 0
        aligned[list(copied)] = False
        pick = np.flatnonzero(aligned)
        keep_rest = csr_array((~aligned).astype(np.float32).reshape(-1, 1))
        weights = csr_array(placed.multiply(aligned.astype(np.float32).reshape(-1, 1)) + rest.weights.multiply(keep_rest))
        weights.eliminate_zeros()
        words = ["aligned" if aligned[i] else word for i, word in enumerate(rest.provenance)]
        fresh = set(pick.tolist())
        return Mixture(weights, words, {i: row for i, row in rest.rows.items() if i not in fresh})


def ids(vocab: Vocab, texts: list[str]) -> list[list[int]]:
    """Pieces of texts without special and unknown tokens."""
    unknown = vocab.special.get("unk")
    return [[i for i in found if i != unknown] for found in token_ids(vocab.tokenizer, texts, special_tokens=False)]


@dataclass(frozen=True)
class _Links:
    """Every old piece beside every new piece of its sentence, new pieces in order.

    Args:
        key: number of the (new, old) pair among the distinct ones, (n,).
        starts: where the old pieces of each new piece begin, (m,).
        prior: pull towards the diagonal, (n,).
        new, old: the distinct pairs.
    """

    key: np.ndarray
    starts: np.ndarray
    prior: np.ndarray
    new: np.ndarray
    old: np.ndarray


DIAGONAL = 4.0
"""How fast the prior falls off beside the diagonal: fast_align's start."""


def _links(left: list[list[int]], right: list[list[int]], columns: int) -> _Links:
    pairs, priors, sizes = [], [], []
    for source, target in zip(left, right, strict=True):
        a, b = np.array(source, dtype=np.int64), np.array(target, dtype=np.int64)
        pairs.append((b[:, None] * columns + a[None, :]).reshape(-1))
        distance = np.abs((np.arange(len(b))[:, None] + 0.5) / len(b) - (np.arange(len(a))[None, :] + 0.5) / len(a))
        priors.append(np.exp(-DIAGONAL * distance).astype(np.float32).reshape(-1))
        sizes.append(np.full(len(b), len(a)))
    distinct, key = np.unique(np.concatenate(pairs), return_inverse=True)
    ends = np.cumsum(np.concatenate(sizes))
    return _Links(key.astype(np.int32), np.r_[0, ends[:-1]], np.concatenate(priors), distinct // columns, distinct % columns)


def align(left: list[list[int]], right: list[list[int]], shape: tuple[int, int], iterations: int) -> csr_array:
    """Expected alignments of IBM model 1 with a diagonal prior, (V_new, V_old) sparse.

    A hundred thousand sentences of 25 pieces are 60 million links, at about 60 bytes each while it runs: some 4 GB.

    Args:
        left, right: pieces of the old and the new language, sentence by sentence.
        shape: (V_old, V_new).
        iterations: rounds of expectation maximisation.
    """
    links = _links(left, right, shape[0])
    lengths = np.diff(np.r_[links.starts, len(links.key)])
    # t(new | old), and the chance that nothing of the sentence explains a new piece.
    translation = 1.0 / np.bincount(links.old, minlength=shape[0])[links.old]
    nothing = np.full(shape[1], 1.0 / shape[1])
    piece = links.new[links.key[links.starts]]  # new piece at each place
    counts: np.ndarray = translation
    for _ in range(iterations):
        found = translation[links.key] * links.prior
        found /= np.repeat(np.add.reduceat(links.prior, links.starts), lengths)
        total = 0.92 * np.add.reduceat(found, links.starts) + 0.08 * nothing[piece]  # fast_align's share for nothing
        counts = np.bincount(links.key, weights=0.92 * found / np.repeat(total, lengths), minlength=len(links.new))
        empty = np.bincount(piece, weights=0.08 * nothing[piece] / total, minlength=shape[1])
        translation = counts / np.maximum(np.bincount(links.old, weights=counts, minlength=shape[0]), 1e-12)[links.old]
        nothing = empty / max(empty.sum(), 1e-12)
    return csr_array((counts, (links.new, links.old)), shape=(shape[1], shape[0]))
