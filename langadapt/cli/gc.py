"""``langadapt gc``."""

from __future__ import annotations

from pathlib import Path

import click

from langadapt.cli.json_output import dumps


@click.command("gc")
@click.option("--store", type=click.Path(path_type=Path), help="Artifact store. [default: $LANGADAPT_STORE or ~/.cache/langadapt/store]")
@click.option("--dry-run", is_flag=True, help="Say what would go, remove nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def command(store: Path | None, dry_run: bool, as_json: bool) -> None:
    """Remove artifacts that no existing run folder needs, and scratch older than a week.

    A run folder needs what its lock.json names; delete the run folder to let its artifacts go.
    """
    from langadapt.store import Store, default_root

    opened = Store(store or default_root())
    removed = opened.collect(dry_run)
    if as_json:
        click.echo(dumps({"removed": [{"key": k, "bytes": n} for k, n in removed], "dry_run": dry_run}))
        return
    for key, size in removed:
        click.echo(f"{key}  {size / 1e6:.1f} MB")
    verb = "would be freed" if dry_run else "freed"
    click.echo(f"{sum(size for _, size in removed) / 1e6:.1f} MB {verb}; {len(opened.keys())} artifacts in {opened.root}.")
