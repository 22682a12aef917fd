"""What this plugin brings, as strings: nothing is imported until a recipe names it."""

from __future__ import annotations

from collections.abc import Iterable

from langadapt.contracts import ComponentRef, hookimpl


@hookimpl
def langadapt_components() -> Iterable[ComponentRef]:
    return [
        ComponentRef("corpus", "text-files", "langadapt_data.corpora:TextFiles", "text files on this machine"),
        ComponentRef("corpus", "resource", "langadapt_data.corpora:ResourceText", "a text resource of a language or domain"),
        ComponentRef("pairs", "nli", "langadapt_data.pairs:Nli", "premise, hypothesis and label from NLI or paraphrase data"),
        ComponentRef("pairs", "sts", "langadapt_data.pairs:Sts", "sentence pairs with similarity scores"),
        ComponentRef("pairs", "retrieval", "langadapt_data.pairs:Retrieval", "questions and their passages, a share held out"),
        ComponentRef(
            "pairs", "glossary", "langadapt_data.glossary:Glossary", "acronyms and expansions, terms and definitions, from running text"
        ),
        ComponentRef("annotator", "vectors", "langadapt_data.vectors:Vectors", "a teacher's vectors as a column"),
        ComponentRef("annotator", "clusters", "langadapt_data.clusters:Clusters", "the cluster that a text's vector falls into"),
        ComponentRef("annotator", "candidates", "langadapt_data.candidates:Candidates", "lists of candidates with a teacher's scores"),
        ComponentRef(
            "selector", "near-duplicates", "langadapt_data.selectors:NearDuplicates", "drop texts that nearly repeat an earlier one"
        ),
        ComponentRef("selector", "script", "langadapt_data.selectors:Script", "keep texts written in the language's scripts"),
    ]
