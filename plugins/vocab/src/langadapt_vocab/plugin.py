"""What this plugin brings, as strings: nothing is imported until a recipe names it."""

from __future__ import annotations

from collections.abc import Iterable

from langadapt.contracts import ComponentRef, hookimpl


@hookimpl
def langadapt_components() -> Iterable[ComponentRef]:
    return [
        ComponentRef("vocab-init", "random", "langadapt_vocab.simple:Random", "normal rows with the old rows' mean and deviation"),
        ComponentRef("vocab-init", "mean", "langadapt_vocab.simple:Mean", "normal rows with the old rows' mean and covariance"),
        ComponentRef("vocab-init", "focus", "langadapt_vocab.focus:Focus", "sparse mixtures of shared tokens, by a static space"),
        ComponentRef(
            "vocab-init", "fasttext-projection", "langadapt_vocab.projection:FastTextProjection", "a static space mapped onto the old rows"
        ),
        ComponentRef(
            "vocab-init", "wechsel", "langadapt_vocab.wechsel:Wechsel", "similar old tokens, by word spaces that a dictionary aligns"
        ),
        ComponentRef(
            "vocab-init", "matching", "langadapt_vocab.matching:Matching", "a related language's pieces, by dictionary and spelling"
        ),
        ComponentRef(
            "vocab-init",
            "alignment",
            "langadapt_vocab.alignment:Alignment",
            "old pieces that parallel sentences align (trans-tokenisation)",
        ),
        ComponentRef("vocab-init", "distil", "langadapt_vocab.distil:Distil", "rows fitted to the states under the old segmentation"),
        ComponentRef("vocab-init", "mean-subword", "langadapt_vocab.subword:MeanSubword", "mean of the old pieces of a new token"),
        ComponentRef(
            "embedding", "hashed-ngram", "langadapt_vocab.hashed_ngram:HashedNgram", "rows hashed from the n-grams of a token, none learnt"
        ),
        ComponentRef("vocab-init", "overlap", "langadapt_vocab.simple:Overlap", "copy shared tokens, mean of all for the rest"),
    ]
