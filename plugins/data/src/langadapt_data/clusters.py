"""Clusters of a teacher's vectors."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from datasets import Dataset
from pydantic import Field

from langadapt.contracts import Annotator, Columns, Context, Embeds, Role, Scores
from langadapt.errors import DataError
from langadapt_data.vectors import encoder_of


class Clusters(Annotator):
    """The number of the k-means cluster that each row's text falls into, by the teacher's vectors.

    The sampler ``clusters`` then draws batches from one cluster each, so that in-batch negatives are hard (topic-aware sampling: Hofstätter
    et al. 2021, arXiv:2104.06967; clusters as strata: Merrick 2024, arXiv:2407.18887).
    """

    name: ClassVar[str] = "clusters"

    of: str = "anchor"
    """The column whose texts are grouped."""
    into: str = "cluster"
    k: Annotated[int, Field(ge=2)] = 100

    def reads(self) -> Columns:
        return {self.of: Role.TEXT}

    def adds(self) -> Columns:
        return {self.into: Role.LABEL}

    def annotate(self, rows: Dataset, teacher: Embeds | Scores, ctx: Context) -> dict[str, list[Any]]:
        from sklearn.cluster import MiniBatchKMeans

        texts = list(dict.fromkeys(rows[self.of]))
        if len(texts) < self.k:
            raise DataError(f"{len(texts):,} distinct texts cannot fall into {self.k} clusters", hint="Choose a smaller k.")
        vectors = encoder_of(teacher, self.name).encode(texts, normalize=True, progress=ctx.log)
        seed = ctx.seed_for("clusters") % 2**31
        found = MiniBatchKMeans(self.k, random_state=seed, n_init=3, batch_size=4096).fit_predict(vectors)
        label = dict(zip(texts, found.tolist(), strict=True))
        return {self.into: [label[text] for text in rows[self.of]]}
