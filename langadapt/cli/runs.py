"""``langadapt runs``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from langadapt.running.past import PastRun


@click.command("runs")
@click.argument("folder", type=click.Path(path_type=Path), default="runs")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def command(folder: Path, as_json: bool) -> None:
    """List the run folders in FOLDER, the newest last: state, main score, time at work, size of the release.

    The main score is the first of what the run released; compare two runs with 'langadapt compare'.
    """
    from langadapt.cli.json_output import dumps
    from langadapt.errors import StoreError
    from langadapt.running.past import find_runs

    if not folder.is_dir():
        raise StoreError("there is no such folder", where=str(folder), hint="Builds make run folders in ./runs, or where --out says.")
    rows = [_row(run) for run in find_runs(folder)]
    if as_json:
        click.echo(dumps(rows))
        return
    if not rows:
        click.echo(f"No run folders in {folder}.")
        return
    shown = [{key: str(value) for key, value in row.items() if key != "bytes"} for row in rows]
    header = {key: key for key in shown[0]}
    widths = {key: max(len(row[key]) for row in [header, *shown]) for key in header}
    for row in [header, *shown]:
        click.echo("  ".join(row[key].ljust(widths[key]) for key in header).rstrip())


def _row(run: PastRun) -> dict[str, Any]:
    import time

    from langadapt.artifacts import scores
    from langadapt.errors import StoreError

    try:
        found = run.own_scores()
        first = f"{found[0]['task']} {found[0]['metric']} {scores.cell(found[0])}" if found else "–"
    except StoreError:
        first = "damaged"
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.time)) if run.time else "–"
    return {
        "run": str(run.path),
        "plan": run.title,
        "when": when,
        "state": run.state(),
        "score": first,
        "seconds": round(sum(run.seconds().values()), 1),
        "release": f"{run.size() / 1e6:.1f} MB" if run.size() else "–",
        "bytes": run.size(),
    }
