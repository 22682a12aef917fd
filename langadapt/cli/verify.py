"""``langadapt verify``."""

from __future__ import annotations

from pathlib import Path

import click

from langadapt.cli.json_output import dumps


@click.command("verify")
@click.argument("release", required=False, type=click.Path(path_type=Path))
@click.option("--store", type=click.Path(path_type=Path), help="Check every artifact of this store instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def command(release: Path | None, store: Path | None, as_json: bool) -> None:
    """Check a RELEASE folder against its SHA256SUMS; without one, the store against its records."""
    from langadapt.errors import StoreError, raise_all
    from langadapt.release.card import check_sums
    from langadapt.store import Store, default_root

    if release is not None:
        damaged = [(str(release / name), what) for name, what in check_sums(release)]
        checked = str(release)
    else:
        opened = Store(store or default_root())
        keys = opened.keys()
        damaged = [(str(opened.path(d.key) / d.file), d.what) for key in keys for d in opened.verify(key)]
        checked = f"{len(keys)} artifacts in {opened.root}"
    if as_json:
        click.echo(dumps({"checked": checked, "damaged": [{"file": f, "what": w} for f, w in damaged]}))
    hint = "Do not use it: fetch or build it again." if release else "Delete the artifact's folder and build again."
    raise_all([StoreError(what, where=file, hint=hint) for file, what in damaged])
    if not as_json:
        click.echo(f"{checked}: every file is as it was written.")
