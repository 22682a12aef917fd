"""What this plugin brings, as strings: nothing is imported until a recipe names it."""

from __future__ import annotations

from collections.abc import Iterable

from langadapt.contracts import ComponentRef, hookimpl


@hookimpl
def langadapt_components() -> Iterable[ComponentRef]:
    return [
        ComponentRef("evaluator", "rerank", "langadapt_evaluators.rerank:Rerank", "BM25's best passages in a better order"),
        ComponentRef(
            "evaluator", "pseudo-perplexity", "langadapt_evaluators.pseudo_perplexity:PseudoPerplexity", "surprise at running text"
        ),
        ComponentRef("evaluator", "layer-sweep", "langadapt_evaluators.layer_sweep:LayerSweep", "another evaluator, layer by layer"),
        ComponentRef(
            "evaluator",
            "sts",
            "langadapt_evaluators.sts:Sts",
            "Spearman and Pearson correlation with human similarity scores",
            default=True,
        ),
        ComponentRef("evaluator", "retrieval", "langadapt_evaluators.retrieval:Retrieval", "exact search: MRR, nDCG, recall, accuracy"),
        ComponentRef("evaluator", "bm25", "langadapt_evaluators.bm25:Bm25", "the same search by words alone, to compare with"),
        ComponentRef(
            "evaluator", "classification", "langadapt_evaluators.classification:Classification", "linear probe, neighbours or fine-tuning"
        ),
        ComponentRef("evaluator", "tagging", "langadapt_evaluators.tagging:Tagging", "entities or parts of speech by a linear layer"),
        ComponentRef("evaluator", "clustering", "langadapt_evaluators.clustering:Clustering", "clusters of vectors against labels"),
        ComponentRef(
            "evaluator",
            "pair-classification",
            "langadapt_evaluators.pair_classification:PairClassification",
            "pairs that belong together, by cosine: average precision, accuracy, F1",
        ),
        ComponentRef("evaluator", "seat", "langadapt_evaluators.seat:Seat", "associations of groups with attributes: effect size and p"),
        ComponentRef(
            "evaluator",
            "log-probability-bias",
            "langadapt_evaluators.log_probability_bias:LogProbabilityBias",
            "stereotypes against their opposites, by a masked language model",
        ),
        ComponentRef("evaluator", "probing", "langadapt_evaluators.probing:Probing", "what can be read off a vector: length, words, order"),
        ComponentRef("evaluator", "analogy", "langadapt_evaluators.analogy:Analogy", "one word to a second as a third to a fourth"),
        ComponentRef(
            "evaluator", "rare-words", "langadapt_evaluators.rare_words:RareWords", "what a masked language model knows of words, by rarity"
        ),
        ComponentRef(
            "evaluator",
            "semantic-features",
            "langadapt_evaluators.semantic_features:SemanticFeatures",
            "people's features of words, read off vectors",
        ),
        ComponentRef(
            "evaluator",
            "paraphrase-robustness",
            "langadapt_evaluators.paraphrase_robustness:ParaphraseRobustness",
            "another evaluator on texts put in other words, or with slips",
        ),
        ComponentRef("evaluator", "energy", "langadapt_evaluators.energy:Energy", "what encoding costs: energy and texts a second"),
        ComponentRef("evaluator", "bertscore", "langadapt_evaluators.bertscore:BertScore", "sentences compared token by token"),
        ComponentRef("evaluator", "evalrank", "langadapt_evaluators.evalrank:EvalRank", "pairs that mean the same, as a search"),
        ComponentRef("evaluator", "hubness", "langadapt_evaluators.hubness:Hubness", "texts that are everybody's neighbours"),
        ComponentRef("evaluator", "bitext", "langadapt_evaluators.bitext:Bitext", "translations as nearest neighbours, and mining them"),
        ComponentRef("evaluator", "thresholds", "langadapt_evaluators.thresholds:Thresholds", "a cosine that tells what can be answered"),
        ComponentRef(
            "evaluator",
            "similarity-overlap",
            "langadapt_evaluators.similarity_overlap:SimilarityOverlap",
            "how far right, near and random passages lie apart",
        ),
        ComponentRef("evaluator", "isotropy", "langadapt_evaluators.isotropy:Isotropy", "how evenly vectors use their space"),
        ComponentRef("evaluator", "fertility", "langadapt_evaluators.fertility:Fertility", "tokens per word, unknown and continued words"),
    ]
