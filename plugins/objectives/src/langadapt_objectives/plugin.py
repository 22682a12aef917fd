"""What this plugin brings, as strings: nothing is imported until a recipe names it."""

from __future__ import annotations

from collections.abc import Iterable

from langadapt import ComponentRef, hookimpl


@hookimpl
def langadapt_components() -> Iterable[ComponentRef]:
    return [
        ComponentRef("objective", "mlm", "langadapt_objectives.mlm:MaskedLanguageModel", "masked language modelling with dynamic masking"),
        ComponentRef(
            "objective",
            "multiple-negatives",
            "langadapt_objectives.contrastive:MultipleNegatives",
            "in-batch negatives with hard negatives from contradictions",
        ),
        ComponentRef("objective", "nli-softmax", "langadapt_objectives.nli:NliSoftmax", "three-way classification of sentence pairs"),
        ComponentRef("objective", "cosine-sts", "langadapt_objectives.sts:CosineSts", "regression of cosine similarity on scores"),
        ComponentRef("pooler", "last", "langadapt_objectives.poolers:Last", "state of the last token, for decoders"),
        ComponentRef("pooler", "weighted-mean", "langadapt_objectives.poolers:WeightedMean", "mean weighted by position, for decoders"),
        ComponentRef("pooler", "max", "langadapt_objectives.poolers:Max", "largest value of each dimension"),
        ComponentRef("transform", "whitening", "langadapt_objectives.whitening:Whitening", "whitened vectors, fewer dimensions if asked"),
    ]
