"""What a vocabulary costs on a text, and which change is worth it: keep, prune, extend or replace.

Candidates are trained on nine tenths of the text and everything is measured on the last tenth.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langadapt.artifacts import dataset
from langadapt.contracts.component import Context
from langadapt.contracts.plan import Request
from langadapt.contracts.vocabulary import TokenizerTrainer
from langadapt.errors import LangadaptError, PlanError
from langadapt.files import write_json
from langadapt.modeling.loading import load_tokenizer
from langadapt.modeling.segmentation import Advice, compare, split
from langadapt.planning.compile import compile_plan
from langadapt.registry.setup import setup
from langadapt.reports.picture import token_bars
from langadapt.running.build import build
from langadapt.store import Store, default_root

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from langadapt.registry.registry import Registry


def advise(
    request: Request,
    *,
    plugins: Sequence[str] = (),
    store: Path | None = None,
    out: Path | None = None,
    budget: int = 2000,
    vocab_size: int = 16_000,
    quiet: bool = False,
) -> tuple[Advice, Path]:
    """Measure the base's vocabulary and its alternatives on a language's text; returns the advice and the folder it was written to.

    Args:
        request: language, domain, base, resources; without recipes.
        budget: tokens that `extend` may add.
        vocab_size: entries of a vocabulary that replaces the base's.

    Raises:
        LangadaptError: the language has no text at hand, or the text is too small.
    """
    if request.recipes:
        raise PlanError("tokens looks at a base and a text: it takes no --recipe")
    registry, catalog = setup(plugins)
    compiled = _compiled(request, registry, catalog)
    place = store or default_root()
    folder = out or Path("runs") / "-".join([*(Path(name).stem for name in (request.lang or "text", request.domain) if name), "tokens"])
    build(dataclasses.replace(request, recipes=(compiled.recipe,)), plugins=plugins, store=place, out=folder, quiet=quiet)
    base, corpus = (Store(place).path(compiled.plan.stage(name).key) for name in ("base", "corpus"))
    width = int(json.loads((base / "config.json").read_text(encoding="utf-8")).get("embedding_size") or _width(base))
    train, held = split(dataset.load(corpus).texts())
    tokenizer = load_tokenizer(base)
    found, failed = candidates(tokenizer, train, registry, compiled.scripts, budget, vocab_size, Context(seed=request.seed))
    advice = compare(found, failed, train, held, width)
    write_json(folder / "tokens.json", dataclasses.asdict(advice))
    (folder / "tokens.svg").write_text(token_bars({name: dataclasses.asdict(cut) for name, cut in advice.cuts.items()}), encoding="utf-8")
    return advice, folder


@dataclass(frozen=True)
class _Compiled:
    plan: Any
    recipe: str
    scripts: list[str]


def _compiled(request: Request, registry: Registry, catalog: Any) -> _Compiled:
    """The base and a text: the corpus, or else the sentences of the language's NLI pairs."""
    plans: dict[str, Any] = {}
    first: LangadaptError | None = None
    for recipe in ("tokens", "tokens-of-pairs"):
        try:
            plans[recipe] = compile_plan(dataclasses.replace(request, recipes=(recipe,)), registry, catalog)
        except LangadaptError as error:  # no such resource, or the Hub that has it cannot be reached
            first = first or error
    if not plans:
        assert first is not None
        raise first
    at_hand = [name for name, plan in plans.items() if not any(r.pinned.place == "hub" for r in plan.stage("corpus").resources())]
    recipe = (at_hand or list(plans))[0]
    scripts = list(catalog.load("language", request.lang).data.get("scripts", [])) if request.lang else []
    return _Compiled(plans[recipe], recipe, scripts)


def _width(base: Path) -> int:
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    return int(config.get("hidden_size") or config.get("dim") or config["n_embd"])


def candidates(
    base: PreTrainedTokenizerFast, texts: list[str], registry: Registry, scripts: list[str], budget: int, vocab_size: int, ctx: Context
) -> tuple[dict[str, PreTrainedTokenizerFast], dict[str, str]]:
    """Tokenizers by name, and why some could not be made."""
    chooser = registry.make(TokenizerTrainer, registry.default(TokenizerTrainer.kind))
    found, failed = {"keep": base}, {}
    for name, trainer in chooser.alternatives(base, scripts, budget, vocab_size).items():
        try:
            found[name] = trainer.train(texts, base, ctx)
        except LangadaptError as error:
            failed[name] = f"{error.what}. {error.hint}" if error.hint else error.what
            continue
        if found[name] is base:
            failed[name] = "it leaves the base's vocabulary as it is: most of it is in use"
            del found[name]
    return found, failed
