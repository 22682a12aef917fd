"""The verbs of recipes, a folder each: ``options.py`` is what a recipe may say, ``rules.py`` what is checked and keyed, ``run.py`` what
is done, ``run(job)``, which writes an artifact's files into ``job.folder``.

Options and rules are read by every plan, so they import contracts, manifests and what knows this machine's number formats; what runs is
imported when it runs.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langadapt.manifests.stage import Stage
from langadapt.verbs.annotate.options import Annotate
from langadapt.verbs.annotate.rules import AnnotateRules
from langadapt.verbs.collect.options import Collect
from langadapt.verbs.collect.rules import CollectRules
from langadapt.verbs.evaluate.options import Evaluate
from langadapt.verbs.evaluate.rules import EvaluateRules
from langadapt.verbs.export.options import Export
from langadapt.verbs.export.rules import ExportRules
from langadapt.verbs.fit_transform.options import FitTransform
from langadapt.verbs.init_vocab.options import InitVocab
from langadapt.verbs.load.options import Load
from langadapt.verbs.load.rules import LoadRules
from langadapt.verbs.merge.options import Merge
from langadapt.verbs.merge.rules import MergeRules
from langadapt.verbs.pair.options import Pair
from langadapt.verbs.pair.rules import PairRules
from langadapt.verbs.rules import Rules
from langadapt.verbs.train.options import Train
from langadapt.verbs.train.rules import TrainRules
from langadapt.verbs.train_tokenizer.options import TrainTokenizer

if TYPE_CHECKING:
    from langadapt.verbs.job import Job


@dataclass(frozen=True)
class Verb:
    """What a recipe can ask to be done."""

    options: type[Stage]
    rules: Rules

    @property
    def name(self) -> str:
        """As recipes write it: ``train-tokenizer``."""
        return str(self.options.model_fields["do"].annotation.__args__[0])  # type: ignore[union-attr]

    def run(self, job: Job) -> dict[str, Any]:
        """Do it; returns what the artifact's record states."""
        module = importlib.import_module(f"langadapt.verbs.{self.name.replace('-', '_')}.run")
        record: dict[str, Any] = module.run(job)
        return record


VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb(Load, LoadRules()),
        Verb(Collect, CollectRules()),
        Verb(Pair, PairRules()),
        Verb(Annotate, AnnotateRules()),
        Verb(Merge, MergeRules()),
        Verb(TrainTokenizer, Rules()),
        Verb(InitVocab, Rules()),
        Verb(Train, TrainRules()),
        Verb(FitTransform, Rules()),
        Verb(Evaluate, EvaluateRules()),
        Verb(Export, ExportRules()),
    )
}
