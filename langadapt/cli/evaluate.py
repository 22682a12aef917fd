"""``langadapt evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from langadapt.manifests.resource import Resource


@click.command("evaluate")
@click.argument("encoders", nargs=-1, required=True)
@click.option("--data", "files", multiple=True, required=True, metavar="PATH", help="Test file (repeatable).")
@click.option("--test", "tests", multiple=True, metavar="PATH", help="Test file, where --data is what to learn from (repeatable).")
@click.option("--evaluator", help="Evaluator by name. [default: the similarity of sentences]")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the evaluator (repeatable).")
@click.option("--score-range", type=(float, float), default=(0.0, 5.0), show_default=True, metavar="LOW HIGH")
@click.option(
    "--column", "columns", multiple=True, metavar="OURS=NAME", help="What a file calls a column; a number where it has no header."
)
@click.option("--label", "labels", multiple=True, metavar="THEIRS=OURS", help="What a label of a file means (repeatable).")
@click.option("--drop-incomplete", is_flag=True, help="Leave rows with empty or null cells out, and count them.")
@click.option("--seed", type=int, default=42, show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda", "mps"]), help="[default: the best there is]")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
@click.pass_context
def command(
    ctx: click.Context,
    encoders: tuple[str, ...],
    files: tuple[str, ...],
    tests: tuple[str, ...],
    evaluator: str | None,
    options: tuple[str, ...],
    score_range: tuple[float, float],
    columns: tuple[str, ...],
    labels: tuple[str, ...],
    drop_incomplete: bool,
    seed: int,
    device: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Score ENCODERS (folders or Hub ids) side by side on test files, with 95 % intervals.

    \b
    langadapt evaluate intfloat/multilingual-e5-small runs/mr-sbert-nli-sts/release --data sts-test.tsv
    langadapt evaluate BASE ADAPTED --evaluator classification --data train.tsv --test dev.tsv --option methods='[probe, fine-tune]'
    """
    import tempfile

    from langadapt.artifacts import scorer as scorers
    from langadapt.artifacts import scores
    from langadapt.cli.json_output import dumps
    from langadapt.contracts.component import Context
    from langadapt.contracts.results import Evaluator
    from langadapt.errors import DataError, PlanError
    from langadapt.files import stable_hash
    from langadapt.inference.encoder import Encoder
    from langadapt.inference.scorer import Scorer
    from langadapt.progress import ConsoleLog
    from langadapt.registry.setup import setup

    registry, _ = setup(ctx.obj["plugins"])
    reading: dict[str, Any] = {
        "score_range": score_range,
        "columns": dict(_named(item, "--column") for item in columns),
        "labels": dict(_named(item, "--label") for item in labels),
        "incomplete": "drop" if drop_incomplete else "refuse",
    }
    evaluator = evaluator or registry.default(Evaluator.kind)
    slot: dict[str, Any] = {"use": evaluator, "data": _resource(files, reading, "--data"), **dict(_pair(item) for item in options)}
    if tests:
        slot["test"] = _resource(tests, reading, "--test")
    judge = registry.make(Evaluator, slot, f"--evaluator {evaluator}")
    found: scores.Scores = {}
    log = ConsoleLog(quiet)
    for name in encoders:
        loaded: Encoder | Scorer
        if scorers.is_scorer(Path(name)):
            loaded = Scorer.load(name, device=device)
        else:
            loaded = Encoder.load(name, device=device, registry=registry, mlm_head=judge.needs_mlm_head)
        sort = type(loaded).__name__
        if sort not in judge.subjects:
            raise PlanError(f"the evaluator '{judge.name}' scores {' or '.join(sorted(judge.subjects))}, and {name} is a {sort}")
        with tempfile.TemporaryDirectory() as work:
            context = Context(seed=seed, device=loaded.device, workdir=Path(work), log=log)
            found[name], problems = scores.records(judge.evaluate(loaded, context), data=stable_hash(judge.identity())[:16], seed=seed)
        for problem in problems:
            log.warning(f"{name}: {problem}")
    scores.add_differences(found)
    scores.add_groups(found)
    if not any(found.values()):
        raise DataError("no figure is a number, so there are no scores", where=", ".join(files), hint="The warnings above say why.")
    click.echo(dumps(scores.plain(found)) if as_json else "\n".join(scores.table(found)))


def _resource(files: tuple[str, ...], reading: dict[str, Any], option: str) -> Resource:
    """Files of this machine as a pinned resource."""
    from langadapt.manifests.resource import PathSource, Resource, Sources
    from langadapt.planning.pinning import pin_paths

    paths = tuple(Path(name).expanduser().absolute() for name in files)
    name = paths[0].name.split(".")[0] or paths[0].name if len(paths) == 1 else "test"
    low, high = reading["score_range"]
    if not low < high:
        raise click.BadParameter(f"{low:g} is not below {high:g}", param_hint="--score-range")
    data = Resource(name=name, format="sts", sources=Sources(path=PathSource(paths=list(files))), asked="evaluate", **reading)
    return data.model_copy(update={"pinned": pin_paths(data, paths, option)})


def _named(text: str, option: str) -> tuple[str, str]:
    first, equals, second = text.partition("=")
    if not equals or not first or not second:
        raise click.BadParameter(f"{text} is not NAME=NAME", param_hint=option)
    return first, second


def _pair(text: str) -> tuple[str, Any]:
    from langadapt.manifests import yaml

    key, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text} is not KEY=VALUE", param_hint="--option")
    return key, yaml.parse(f"value: {value}", f"--option {key}").data["value"]
