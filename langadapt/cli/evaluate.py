"""``langadapt evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from langadapt.cli.options import manifests

if TYPE_CHECKING:
    from langadapt.manifests.resource import Resource


@click.command("evaluate")
@click.argument("encoders", nargs=-1, required=True)
@click.option("--lang", metavar="CODE|FILE.yaml", shell_complete=manifests("language"), help="Run every test of this language's manifest.")
@click.option("--domain", metavar="NAME|FILE.yaml", shell_complete=manifests("domain"), help="And of this domain's.")
@click.option("--resource", "resources", multiple=True, metavar="NAME=PATH", help="Use these files for a manifest's resource (repeatable).")
@click.option("--sources", type=click.Choice(["starter", "hub"]), help="Where a manifest's resources come from.")
@click.option("--data", "files", multiple=True, metavar="PATH", help="Test file (repeatable), where no manifest is named.")
@click.option("--test", "tests", multiple=True, metavar="PATH", help="Test file, where --data is what to learn from (repeatable).")
@click.option("--evaluator", help="Evaluator by name. [default: the similarity of sentences]")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the evaluator (repeatable).")
@click.option("--score-range", type=(float, float), default=(0.0, 5.0), show_default=True, metavar="LOW HIGH")
@click.option(
    "--column", "columns", multiple=True, metavar="OURS=NAME", help="What a file calls a column; a number where it has no header."
)
@click.option("--label", "labels", multiple=True, metavar="THEIRS=OURS", help="What a label of a file means (repeatable).")
@click.option("--drop-incomplete", is_flag=True, help="Leave rows with empty or null cells out, and count them.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Write scores, samples and a page to look at.")
@click.option("--seed", type=int, default=42, show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda", "mps"]), help="[default: the best there is]")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    encoders: tuple[str, ...],
    out: Path | None,
    seed: int,
    device: str | None,
    quiet: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Score ENCODERS (folders or Hub ids) side by side, with 95 % intervals: on test files, or on every test of a language.

    baseline:random and baseline:char-ngrams are encoders that learnt nothing.  Of a language's tests those whose data is not at hand are
    named and left out, and one that fails does not stop the others; the exit code is 2 then.

    \b
    langadapt evaluate intfloat/multilingual-e5-small runs/mr-sbert-nli-sts/release --data sts-test.tsv
    langadapt evaluate BASE ADAPTED --evaluator classification --data train.tsv --test dev.tsv --option methods='[probe, fine-tune]'
    langadapt evaluate baseline:char-ngrams BASE ADAPTED --lang mr --resource sts-test=dev.tsv --out scores
    """
    import tempfile

    from langadapt.artifacts import scores
    from langadapt.cli.json_output import dumps
    from langadapt.contracts.component import Context
    from langadapt.errors import DataError
    from langadapt.inference.opening import best_device
    from langadapt.progress import ConsoleLog
    from langadapt.registry.setup import setup
    from langadapt.running.evaluation import evaluate
    from langadapt.store import Store, default_root

    registry, catalog = setup(ctx.obj["plugins"])
    evaluators, missing = _tasks(given, seed, registry, catalog)
    log = ConsoleLog(quiet)
    with tempfile.TemporaryDirectory() as work:
        context = Context(seed=seed, device=device or best_device(), workdir=Path(work), cache=Store(default_root()).cache, log=log)
        found = evaluate(encoders, evaluators, registry, context, device)
    for problem in found.problems:
        log.warning(problem)
    if not any(found.scores.values()):
        asked = ", ".join(given["files"]) or given["lang"]
        raise DataError("no figure is a number, so there are no scores", where=asked, hint="The warnings above say why.")
    click.echo(dumps(scores.plain(found.scores)) if as_json else "\n".join(scores.table(found.scores)))
    for line in missing:
        click.echo(f"Left out: {line}", err=True)
    if out is not None:
        page = found.save(out, f"Scores: {given['lang'] or evaluators[0].name}")
        click.echo(f"Look at it: {page}", err=as_json)
    if found.problems:
        ctx.exit(2)


def _tasks(given: dict[str, Any], seed: int, registry: Any, catalog: Any) -> tuple[list[Any], list[str]]:
    """What to score on: one evaluator on files, or a manifest's; and what of the manifest's is not at hand.

    Raises:
        LangadaptError: options that do not go together, or nothing to score on.
    """
    from langadapt.contracts.plan import Request
    from langadapt.contracts.results import Evaluator
    from langadapt.errors import PlanError
    from langadapt.planning.request import resource_paths
    from langadapt.running.evaluation import manifest_tasks

    if bool(given["lang"]) == bool(given["files"]):
        raise click.UsageError(
            "say what to score on: --data FILE, or --lang CODE for every test of a language", click.get_current_context()
        )
    if given["lang"]:
        paths = resource_paths(given["resources"])
        request = Request((), given["lang"], given["domain"], resources=paths, sources=given["sources"], seed=seed)
        evaluators, missing = manifest_tasks(request, registry, catalog)
        if not evaluators:
            raise PlanError(
                f"no test of '{given['lang']}' is at hand: {' '.join(missing) or 'its manifest names none.'}",
                hint="Give its data by --resource NAME=PATH, or score on files of your own with --data.",
            )
        return evaluators, missing
    reading: dict[str, Any] = {
        "score_range": given["score_range"],
        "columns": dict(_named(item, "--column") for item in given["columns"]),
        "labels": dict(_named(item, "--label") for item in given["labels"]),
        "incomplete": "drop" if given["drop_incomplete"] else "refuse",
    }
    name = given["evaluator"] or registry.default(Evaluator.kind)
    slot: dict[str, Any] = {"use": name, "data": _resource(given["files"], reading, "--data"), **dict(map(_pair, given["options"]))}
    if given["tests"]:
        slot["test"] = _resource(given["tests"], reading, "--test")
    return [registry.make(Evaluator, slot, f"--evaluator {name}")], []


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
