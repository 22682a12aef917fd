"""``langadapt plan``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from langadapt.cli.json_output import dumps
from langadapt.cli.options import make_request, request_options


@click.command("plan")
@request_options
@click.option(
    "--check-data",
    is_flag=True,
    help="Read the local files of pairs, tests, labels and texts first, as a build does, and say what is wrong.",
)
@click.pass_context
def command(ctx: click.Context, /, as_json: bool, check_data: bool, **values: Any) -> None:
    """Show what a build would do, and why: each stage, in the store or not, and what changed since the last build.

    Nothing is written.  A build checks its data too, before anything trains.
    """
    from langadapt.running.build import plan, states
    from langadapt.store import Store, default_root

    request = make_request(values)
    compiled = plan(request, ctx.obj["plugins"])
    if check_data:
        from langadapt.data import check as data_check

        for warning in data_check.check_data(compiled):
            click.secho(f"warning: {warning}", fg="yellow", err=True)
    run_dir = values["out"] or Path("runs") / compiled.title
    found = states(compiled, Store(values["store"] or default_root()), run_dir)
    if as_json:
        stages = [
            {
                "name": s.stage.name,
                "do": s.stage.stage.do,
                "key": s.stage.key,
                "present": s.present,
                "reasons": list(s.reasons),
                "identity": s.stage.identity,
            }
            for s in found
        ]
        click.echo(dumps({"title": compiled.title, "run": str(run_dir), "stages": stages}))
        return
    click.echo(f"{compiled.title}, seed {compiled.seed}")
    width = max(len(s.stage.name) for s in found)
    for state in found:
        verdict = "in the store" if state.present else "to run: " + "; ".join(state.reasons)
        click.echo(f"  {state.stage.name.ljust(width)}  {state.stage.stage.do.ljust(15)}  {state.stage.key[:10]}  {verdict}")
        for resource in state.stage.resources():
            click.echo(f"  {' ' * width}    {resource.name}: {resource.pinned.label} ({resource.licence})")
    todo = sum(not s.present for s in found)
    click.echo(f"{todo} of {len(found)} stages to run." if todo else "Nothing to do.")
