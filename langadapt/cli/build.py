"""``langadapt build``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from langadapt.cli.options import make_request, request_options


@click.command("build")
@request_options
@click.option("--processes", type=click.IntRange(1), default=1, help="Train on this many processes (re-runs under accelerate).")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True)
@click.option("--quiet", is_flag=True, help="Say nothing but warnings and the result.")
@click.pass_context
def command(ctx: click.Context, /, processes: int, device: str, quiet: bool, as_json: bool, **values: Any) -> None:
    """Run recipes for a language and leave a release.

    A build that was stopped goes on where it was; one that is done does nothing and says so.

    \b
    langadapt build --lang mr --recipe sbert-nli-sts
    langadapt build --lang mr --recipe monolingual-from-multilingual --recipe sbert-nli-sts \\
        --resource corpus=news.txt.gz
    """
    if processes > 1 and "WORLD_SIZE" not in os.environ:
        _relaunch(processes, device)
    # One warning per dataset, tokenizer fork or deprecated argument of a library helps nobody here.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    from langadapt.runner import build

    outcome = build(
        make_request(values), plugins=ctx.obj["plugins"], store=values["store"], out=values["out"], quiet=quiet or as_json, device=device
    )
    if int(os.environ.get("RANK", "0")) == 0:
        _say(outcome, as_json)


def _relaunch(processes: int, device: str) -> None:
    """Replace this process by accelerate's launcher, which starts `processes` copies of the same command."""
    arguments = sys.argv[1:]
    at = next(i for i, item in enumerate(arguments) if item.startswith("--processes"))
    kept = arguments[:at] + arguments[at + (1 if "=" in arguments[at] else 2) :]
    cpu = ["--cpu"] if device == "cpu" else []
    launcher = ["-m", "accelerate.commands.launch", "--num_processes", str(processes), "--num_machines", "1", *cpu]
    launcher += ["--mixed_precision", "no", "--dynamo_backend", "no", "-m", "langadapt"]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *launcher, *kept])


def _say(outcome: Any, as_json: bool) -> None:
    from langadapt.artifacts.release import full_build, is_starter, licence_of

    release: Path | None = outcome.release
    if as_json:
        keys = {stage.name: stage.key for stage in outcome.plan.stages}
        result = {
            "title": outcome.plan.title,
            "ran": outcome.ran,
            "reused": outcome.reused,
            "release": str(release) if release else None,
            "run": str(outcome.run_dir),
            "keys": keys,
            "seconds": round(outcome.seconds, 1),
        }
        click.echo(json.dumps(result, ensure_ascii=False, indent=2))
        return
    if not outcome.ran:
        click.echo(f"Nothing to do: all {len(outcome.plan.stages)} stages of {outcome.plan.title} are in the store.")
    else:
        click.echo(f"Built {outcome.plan.title}: {len(outcome.ran)} stages run, {len(outcome.reused)} reused, {outcome.seconds:.0f} s.")
    if release and (release / "scores.json").is_file():
        from langadapt.artifacts import scores

        click.echo("\n".join(["", *scores.table(scores.load(release)), ""]))
    if release:
        click.echo(f"Release: {release}")
    for report in sorted(outcome.run_dir.glob("data-*.html")):
        click.echo(f"Look at the data: {report}")
    facts = next((stage.facts for stage in reversed(outcome.plan.stages) if stage.facts), None)
    for remark in licence_of(dict(facts))[1] if facts else []:
        click.echo(remark.replace("**", ""))
    if facts and is_starter(dict(facts)):
        click.echo(
            "This is a starter release, for trying things out: its base is a 4-bit round trip or its pairs come from a small grammar.\n"
            f"The full build: {full_build(dict(facts))}"
        )
