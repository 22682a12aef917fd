"""What this plugin brings, as strings: nothing is imported until a recipe names it."""

from __future__ import annotations

from collections.abc import Iterable

from langadapt.contracts import ComponentRef, hookimpl


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
        ComponentRef("objective", "cosent", "langadapt_objectives.cosent:Cosent", "cosines in the order of their scores"),
        ComponentRef("objective", "triplet", "langadapt_objectives.triplet:Triplet", "nearer to the positive than to the negative"),
        ComponentRef("objective", "cosine-sts", "langadapt_objectives.sts:CosineSts", "regression of cosine similarity on scores"),
        ComponentRef(
            "objective", "weighted", "langadapt_objectives.weighted:Weighted", "masked language modelling of what is predicted badly"
        ),
        ComponentRef(
            "objective", "cross-encoder", "langadapt_objectives.cross_encoder:CrossEncoder", "a scorer that reads both texts of a pair"
        ),
        ComponentRef("objective", "rtd", "langadapt_objectives.rtd:ReplacedTokens", "telling replaced tokens from real ones"),
        ComponentRef("objective", "nsp", "langadapt_objectives.nsp:NextSentence", "whether one segment follows another"),
        ComponentRef("objective", "colbert", "langadapt_objectives.colbert:Colbert", "late interaction with in-batch negatives"),
        ComponentRef("pooler", "colbert", "langadapt_objectives.colbert:ColbertPooler", "a vector a token, for late interaction"),
        ComponentRef("objective", "mse-distil", "langadapt_objectives.mse_distil:MseDistil", "a teacher's vectors, computed once"),
        ComponentRef("objective", "layer-distil", "langadapt_objectives.layer_distil:LayerDistil", "a teacher's states, layer by layer"),
        ComponentRef(
            "objective", "listwise-distil", "langadapt_objectives.listwise_distil:ListwiseDistil", "a teacher's ranking of candidates"
        ),
        ComponentRef("sampler", "no-duplicates", "langadapt_objectives.no_duplicates:NoDuplicates", "no text twice in a batch"),
        ComponentRef("sampler", "clusters", "langadapt_objectives.cluster_batches:Clusters", "batches of one cluster each"),
        ComponentRef("merger", "average", "langadapt_objectives.average:Average", "the mean of all weights"),
        ComponentRef("adaptation", "reinit-top", "langadapt_objectives.reinit_top:ReinitTop", "top layers that begin anew"),
        ComponentRef("transform", "pca", "langadapt_objectives.pca:Pca", "the directions of greatest variance"),
        ComponentRef("transform", "truncate", "langadapt_objectives.truncate:Truncate", "the first dimensions alone"),
        ComponentRef("transform", "int8", "langadapt_objectives.int8:Int8", "vectors as 8-bit integers"),
        ComponentRef("pooler", "last", "langadapt_objectives.poolers:Last", "state of the last token, for decoders"),
        ComponentRef("pooler", "weighted-mean", "langadapt_objectives.poolers:WeightedMean", "mean weighted by position, for decoders"),
        ComponentRef("pooler", "max", "langadapt_objectives.poolers:Max", "largest value of each dimension"),
        ComponentRef("pooler", "first-last-mean", "langadapt_objectives.first_last:FirstLastMean", "mean of the first and the last layer"),
        ComponentRef("pooler", "layer-mix", "langadapt_objectives.layer_mix:LayerMix", "learnt mix of all layers"),
        ComponentRef("pooler", "ditto", "langadapt_objectives.ditto:Ditto", "tokens weighted by the diagonal of an attention head"),
        ComponentRef("transform", "whitening", "langadapt_objectives.whitening:Whitening", "whitened vectors, fewer dimensions if asked"),
    ]
