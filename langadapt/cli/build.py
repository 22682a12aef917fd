"""``langadapt build``."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from langadapt.cli.json_output import dumps
from langadapt.cli.options import make_request, request_options


@click.command("build")
@request_options
@click.option("--processes", type=click.IntRange(1), default=1, help="Train on this many processes of this machine.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True)
@click.option("--track", metavar="NAME", help="Send losses and scores to an experiment tracker: tensorboard, wandb, mlflow …")
@click.option("--quiet", is_flag=True, help="Say nothing but warnings and the result.")
@click.pass_context
def command(ctx: click.Context, /, processes: int, device: str, track: str | None, quiet: bool, as_json: bool, **values: Any) -> None:
    """Run recipes for a language and leave a release.

    A build that was stopped goes on where it was; one that is done does nothing and says so.

    \b
    langadapt build --lang mr --recipe sbert-nli-sts
    langadapt build --lang mr --recipe monolingual-from-multilingual --recipe sbert-nli-sts \\
        --resource corpus=news.txt.gz
    """
    if processes > 1 and "WORLD_SIZE" not in os.environ:
        sys.exit(_relaunched(processes, device))
    # One warning per dataset, tokenizer fork or deprecated argument of a library helps nobody here.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    from langadapt.running.build import build

    outcome = build(
        make_request(values),
        plugins=ctx.obj["plugins"],
        store=values["store"],
        out=values["out"],
        quiet=quiet or as_json,
        device=device,
        track=track,
    )
    if int(os.environ.get("RANK", "0")) == 0:
        _say(outcome, as_json)
        if outcome.unscored:  # the release is there, and whoever started this must still look
            ctx.exit(2)


def _relaunched(processes: int, device: str) -> int:
    """Run the same command on several processes; returns its exit code."""
    from langadapt.cli.processes import launch

    arguments = sys.argv[1:]
    at = next(i for i, item in enumerate(arguments) if item.startswith("--processes"))
    sys.stdout.flush()
    return launch(processes, arguments[:at] + arguments[at + (1 if "=" in arguments[at] else 2) :], device)


def _say(outcome: Any, as_json: bool) -> None:
    from langadapt.artifacts import scores
    from langadapt.release.card import full_build, is_starter, licence_of
    from langadapt.reports.report import REPORT

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
            "warnings": outcome.warnings,
            "unscored": outcome.unscored,
        }
        click.echo(dumps(result))
        return
    if not outcome.ran:
        click.echo(f"Nothing to do: all {len(outcome.plan.stages)} stages of {outcome.plan.title} are in the store.")
    else:
        click.echo(f"Built {outcome.plan.title}: {len(outcome.ran)} stages run, {len(outcome.reused)} reused, {outcome.seconds:.0f} s.")
    facts = dict(next((stage.facts for stage in reversed(outcome.plan.stages) if stage.facts), None) or {})
    found = _scores_of(release)
    if found:
        click.echo("\n".join(["", *scores.table(found), ""]))
    click.echo(f"Look at it: {outcome.run_dir / REPORT}")
    for report in sorted(outcome.run_dir.glob("data-*.html")):
        click.echo(f"Look at the data: {report}")
    for remark in licence_of(facts)[1] if facts else []:
        click.echo(remark.replace("**", ""))
    if facts and is_starter(facts):
        click.echo(
            "This is a starter release, for trying things out: its base is a 4-bit round trip or its pairs come from a small grammar.\n"
            f"The full build: {full_build(facts)}"
        )
    for line in [*(f"The data: {warning}." for warning in outcome.warnings), *_warnings(found, facts), *outcome.unscored]:
        click.secho(line, fg="yellow")
    if release:
        click.echo("\n".join(_next_steps(release, facts)))


def _scores_of(release: Path | None) -> dict[str, Any]:
    from langadapt.artifacts import scores

    return scores.load(release) if release and (release / scores.SCORES).is_file() else {}


def _warnings(found: dict[str, Any], facts: dict[str, Any]) -> list[str]:
    """What nobody should miss in a table: a release below its base, and tests that are no evidence."""
    from langadapt.artifacts import scores

    lines = []
    released, first = facts.get("encoder_stage", ""), next(iter(found), "")
    for score in scores.losses(found, released):
        lines.append(f"The release is WORSE than '{first}' on {score['task']}: {score['metric']} {scores.signed(score)}.")
    tests = {score["task"] for score in found.get(released, []) if score.get("made") == "generated"}
    if tests:
        lines.append(f"Generated by a program, and no evidence for real text: {', '.join(sorted(tests))}. Score real text with 'evaluate'.")
    return lines


def _next_steps(release: Path, facts: dict[str, Any]) -> list[str]:
    """Three things to do with a release, as commands."""
    shown = shlex.quote(str(release))
    base = next((r["origin"] for r in facts.get("resources", []) if r["name"] == "encoder" and r["origin"].count("/") == 1), "BASE")
    return [
        f"Release: {release}",
        f"  use it:      langadapt embed {shown} TEXTS.txt -o vectors.npy   (or SentenceTransformer({str(release)!r}))",
        f"  score it:    langadapt evaluate {base} {shown} --data YOUR_PAIRS.tsv",
        f"  read of it:  {release / 'README.md'} (card: data, licences, scores)",
    ]
