"""What this plugin brings, as strings: nothing is imported until a recipe names it."""

from __future__ import annotations

from collections.abc import Iterable

from langadapt import ComponentRef, hookimpl


@hookimpl
def langadapt_components() -> Iterable[ComponentRef]:
    return [
        ComponentRef("evaluator", "sts", "langadapt_evaluators.sts:Sts", "Spearman and Pearson correlation with human similarity scores"),
        ComponentRef("evaluator", "retrieval", "langadapt_evaluators.retrieval:Retrieval", "exact search: MRR, nDCG, recall, accuracy"),
        ComponentRef("evaluator", "fertility", "langadapt_evaluators.fertility:Fertility", "tokens per word, unknown and continued words"),
    ]
