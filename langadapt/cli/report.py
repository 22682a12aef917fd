"""``langadapt report``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
def command(run: Path) -> None:
    """Write report.html of RUN, a run folder, and say where it lies.

    Every build ends with one; this makes it anew from what the build gathered (report.json), after an update of langadapt for instance.
    The page holds everything it shows: it needs no network and can be sent as it is.
    """
    from langadapt.running.reporting import rewrite_report

    click.echo(rewrite_report(run))
