"""``langadapt compare``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write the comparison as a page too.")
def command(runs: tuple[Path, ...], as_json: bool, html: Path | None) -> None:
    """Compare RUNS (run folders) with the first one of them.

    Scores are of what each run released.  Two runs that were scored on the same data and seed are paired: the difference has a 95 %
    interval and a test, and a star where Holm's correction over all tasks leaves p below 0.05; three and more have letters, shared by
    those that do not differ.

    \b
    langadapt compare runs/mr-sbert-nli-sts runs/mr-with-adapter
    """
    from langadapt.cli.json_output import dumps
    from langadapt.files import write_text
    from langadapt.reports.comparison import comparison_page
    from langadapt.running.comparing import compare, lines_of
    from langadapt.running.past import PastRun

    if len(runs) < 2:
        raise click.UsageError("name two or more run folders; 'langadapt runs' lists them", click.get_current_context())
    found = compare([PastRun.read(path) for path in runs])
    if html is not None:
        write_text(html, comparison_page(found).encode())
    click.echo(dumps(found) if as_json else "\n".join(lines_of(found)))
