"""fasttext-projection: a linear map from a static space onto the old rows, fitted on the shared tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from langadapt.contracts import Context, Mixture, Vocab, VocabInit
from langadapt.errors import DataError, ModelError
from langadapt_vocab.shared import shared_ids, sparse
from langadapt_vocab.simple import drawn
from langadapt_vocab.static import FastText, token_space


class FastTextProjection(VocabInit):
    """Copy shared tokens; every other row is its static vector under the least-squares map that takes shared tokens to their rows.

    The baseline of IndoBERTweet (Koto et al. 2021, arXiv:2109.04607), after Mikolov et al. 2013 (arXiv:1309.4168), with a small ridge.
    """

    name: ClassVar[str] = "fasttext-projection"
    version: ClassVar[str] = "3"

    dimensions: Annotated[int, Field(ge=8, le=1000)] = 300
    epochs: Annotated[int, Field(ge=1)] = 3
    min_count: Annotated[int, Field(ge=1)] = 5
    ridge: Annotated[float, Field(ge=0)] = 0.1

    def mixture(self, old: Vocab, new: Vocab, texts: Iterable[str] | None, ctx: Context) -> Mixture:
        """Raises ModelError without a corpus, DataError when fewer than two shared tokens occur in it."""
        if texts is None or old.rows is None:
            raise ModelError("fasttext-projection needs text: name the stage's 'corpus'")
        shared = shared_ids(old, new)
        how = FastText(self.dimensions, self.epochs, self.min_count, skip_gram=True, negative=5)
        vectors, known = token_space(new, texts, how, ctx)
        special = set(new.special.values())
        anchors = [i for i in sorted(shared) if known[i] and i not in special]
        if len(anchors) < 2:
            raise DataError(
                f"{len(anchors)} shared tokens occur in the corpus: a projection cannot be fitted on them",
                hint="Use the vocab-init 'mean-subword'.",
            )
        target = old.rows[[shared[i] for i in anchors]]
        mean = target.mean(0)
        left = vectors[anchors]
        gram = left.T @ left + self.ridge * np.eye(self.dimensions, dtype=np.float32)
        projection = np.linalg.solve(gram, left.T @ (target - mean))
        rows = [[shared[i]] if i in shared else [] for i in range(len(new.tokens))]
        projected = [i for i, row in enumerate(rows) if not row and known[i]]
        missing = [i for i, row in enumerate(rows) if not row and not known[i]]
        outright = dict(zip(projected, (vectors[projected] @ projection + mean).astype(np.float32), strict=True))
        words = ["copied" if row else "projected" if known[i] else "mean of all" for i, row in enumerate(rows)]
        ctx.log.info(f"projection fitted on {len(anchors):,} shared tokens, {len(projected):,} projected")
        return Mixture(sparse(rows, len(old.tokens)), words, outright | drawn(old, missing, ctx, spread=0.01))
