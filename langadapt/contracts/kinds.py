"""Every kind of component, by the name that manifests and plugins use."""

from __future__ import annotations

from langadapt.contracts.annotation import Annotator
from langadapt.contracts.component import Component
from langadapt.contracts.data import CorpusReader, Generator, Normalizer, PairReader, Selector, Source, Translator
from langadapt.contracts.results import Evaluator, Exporter
from langadapt.contracts.training import Adaptation, Merger, Objective, Optimizer, Sampler, Schedule
from langadapt.contracts.vectors import Pooler, Transform
from langadapt.contracts.vocabulary import Embedding, TokenizerTrainer, VocabInit

KINDS: dict[str, type[Component]] = {
    kind.kind: kind
    for kind in (
        CorpusReader,
        Normalizer,
        PairReader,
        Translator,
        Generator,
        Selector,
        Annotator,
        TokenizerTrainer,
        VocabInit,
        Embedding,
        Adaptation,
        Optimizer,
        Objective,
        Sampler,
        Merger,
        Pooler,
        Transform,
        Schedule,
        Evaluator,
        Exporter,
        Source,
    )
}
