"""``langadapt release``."""

from __future__ import annotations

from pathlib import Path

import click

from langadapt.cli.json_output import dumps


@click.command("release")
@click.argument("adapter", type=click.Path(path_type=Path))
@click.option("--base", metavar="FOLDER|HUB_ID", help="The encoder it was trained on  [default: the one beside it in the store]")
@click.option("--merge", is_flag=True, help="Write the base with the adapter merged into it, for sentence-transformers.")
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="Folder to write; it must not exist.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
@click.pass_context
def command(ctx: click.Context, adapter: Path, base: str | None, merge: bool, output: Path, as_json: bool) -> None:
    """Release a trained ADAPTER: a training stage's folder in the store, or the release of a build.

    Alone it is a few megabytes that name their base; merged, a whole encoder that needs no langadapt.

    \b
    langadapt release runs/en-telecom-domain-adapter/release --base intfloat/multilingual-e5-small -o telecom
    langadapt release ~/.cache/langadapt/store/objects/KEY --merge -o telecom-encoder
    """
    from langadapt.inference.opening import local_folder
    from langadapt.registry.setup import setup
    from langadapt.release import adapters as releasing
    from langadapt.store import disk_error
    from langadapt.verbs.export.run import environment

    registry, _ = setup(ctx.obj["plugins"])
    folder = local_folder(base) if base else None
    source = releasing.read(adapter.expanduser(), folder, releasing.known_name(base) if base else "", environment())
    try:
        with releasing.aside(output) as made:
            if merge:
                releasing.write_merged(source, registry, made)
            else:
                releasing.write_alone(source, made)
    except OSError as error:
        raise disk_error(error, f"{output} cannot be written", "--output") from error
    files = sorted(path for path in output.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in files)
    if as_json:
        named = {"digest": source.record.base.digest, "origin": source.base_name or source.record.base.origin}
        told = {"release": str(output), "merged": merge, "bytes": size, "base": named}
        click.echo(dumps({**told, "files": [path.relative_to(output).as_posix() for path in files]}))
        return
    what = "the base with the adapter merged into it" if merge else "the adapter alone"
    click.echo(f"{output}: {what}, {size / 1e6:.1f} MB.")
