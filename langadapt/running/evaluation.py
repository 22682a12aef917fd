"""Encoders scored side by side outside a build, on every test that a manifest knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langadapt.artifacts import scorer as scorers
from langadapt.artifacts import scores
from langadapt.contracts.component import Context
from langadapt.contracts.plan import Request
from langadapt.contracts.results import Evaluator
from langadapt.errors import LangadaptError, PlanError
from langadapt.files import write_json, write_text
from langadapt.inference.baselines import PREFIX, Baseline, NotOffered
from langadapt.inference.encoder import Encoder
from langadapt.inference.remembering import remember
from langadapt.inference.scorer import Scorer
from langadapt.planning.facts import domain_facts, language_facts
from langadapt.planning.pinning import Pinner, pin_all
from langadapt.planning.raw import RawStage
from langadapt.planning.references import substitute
from langadapt.registry.catalog import Catalog
from langadapt.registry.registry import Registry
from langadapt.reports.evaluation import evaluation_page
from langadapt.verbs.evaluate.examples import EXAMPLES, some_texts, view
from langadapt.verbs.evaluate.run import records_of

PAGE = "report.html"


@dataclass
class Evaluation:
    """What was scored, and what could not be."""

    scores: scores.Scores = field(default_factory=dict)
    examples: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """A sentence for each test, or each encoder on a test, without a score."""

    def save(self, folder: Path, title: str) -> Path:
        """Write the table, what it comes from and a page; returns the page."""
        folder.mkdir(parents=True, exist_ok=True)
        scores.save(self.scores, folder)
        if self.examples["encoders"]:
            write_json(folder / EXAMPLES, self.examples)
        drawn = {name: [score for score in found if score.get("drawing")] for name, found in self.scores.items()}
        keys = ("task", "metric", "value", "n", "drawing")
        facts = {
            "title": title,
            "problems": self.problems,
            "released": None,
            "scores": {"scores": scores.plain(self.scores)},
            "grids": {"scores": dict(zip(("header", "rows"), scores.grid(self.scores), strict=True))},
            "drawings": {"scores": {name: [{key: score[key] for key in keys} for score in found] for name, found in drawn.items()}},
            "examples": {"scores": self.examples} if self.examples["encoders"] else {},
        }
        write_text(folder / PAGE, evaluation_page(facts).encode())
        return folder / PAGE


def manifest_tasks(request: Request, registry: Registry, catalog: Catalog) -> tuple[list[Evaluator], list[str]]:
    """Evaluators that a language's manifest (and a domain's) names, and a sentence for each whose data is not at hand.

    Raises:
        LangadaptError: an unknown or malformed manifest.
    """
    facts = language_facts(request, catalog)
    domain = domain_facts(request, catalog, facts.code)
    document = catalog.load("language", request.lang or "")
    item = RawStage("evaluate", {}, document, ("evaluators",), "evaluate")
    pinner = Pinner(request.sources, registry)
    found: list[Evaluator] = []
    problems = []
    for i, slot in enumerate([*facts.values.get("evaluators", []), *domain.values.get("evaluators", [])]):
        try:
            ready = substitute(slot, facts, domain, item, (i,))
            found.append(pin_all(registry.build(Evaluator.kind, ready, item.where(i)), item, pinner))
        except LangadaptError as error:
            problems.append(f"{error.where}: {error.what}. {error.hint}".rstrip(". ") + ".")
    return found, problems


def evaluate(
    names: Sequence[str], evaluators: Sequence[Evaluator], registry: Registry, context: Context, device: str | None = None
) -> Evaluation:
    """Score encoders on tests; a test that one of them cannot take is a problem, and the others go on.

    Args:
        names: folders, Hub ids, or ``baseline:random`` and ``baseline:char-ngrams``.

    Raises:
        LangadaptError: an encoder cannot be opened, or no evaluator can score what it is.
    """
    found = Evaluation()
    texts = some_texts(evaluators, context)
    found.examples = {"texts": texts, "encoders": {}}
    for name in names:
        encoder = _opened(name, evaluators, registry, context, device)
        rows: list[dict[str, Any]] = []
        for evaluator in evaluators:
            try:
                scored, problems = _scored(encoder, evaluator, context)
            except NotOffered as error:
                context.log.info(f"{name}: {evaluator.name}: {error.what}")
                continue
            except LangadaptError as error:
                if len(evaluators) == 1:
                    raise
                scored, problems = [], [f"{evaluator.name}: {error.where + ': ' if error.where else ''}{error.what}"]
            rows += scored
            found.problems += [f"{name}: {problem}" for problem in problems]
        found.scores[name] = rows
        if len(texts) > 2 and isinstance(encoder, Encoder) and encoder.gives == "dense" and (shown := view(encoder, texts, context)):
            found.examples["encoders"][name] = shown
    scores.add_differences(found.scores)
    scores.add_groups(found.scores)
    return found


def _opened(
    name: str, evaluators: Sequence[Evaluator], registry: Registry, context: Context, device: str | None
) -> Encoder | Scorer | Baseline:
    loaded: Encoder | Scorer | Baseline
    if name.startswith(PREFIX):
        return Baseline(name.removeprefix(PREFIX))
    if scorers.is_scorer(Path(name)):
        loaded = Scorer.load(name, device=device)
    else:
        loaded = Encoder.load(name, device=device, registry=registry, mlm_head=any(one.needs_mlm_head for one in evaluators))
        remember(loaded, context.cache)
    sort = type(loaded).__name__
    wrong = [one for one in evaluators if sort not in one.subjects]
    if len(wrong) == len(evaluators):
        one = wrong[0]
        raise PlanError(f"the evaluator '{one.name}' scores {' or '.join(sorted(one.subjects))}, and {name} is a {sort}")
    return loaded


def _scored(encoder: Encoder | Scorer | Baseline, evaluator: Evaluator, context: Context) -> tuple[list[dict[str, Any]], list[str]]:
    sort = "Scorer" if isinstance(encoder, Scorer) else "Encoder"
    if sort not in evaluator.subjects:
        raise NotOffered(f"'{evaluator.name}' scores {' or '.join(sorted(evaluator.subjects))}, and this is a {sort}")
    return records_of(encoder, evaluator, context)
