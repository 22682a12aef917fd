"""``langadapt plugins``."""

from __future__ import annotations

import click

from langadapt.cli.json_output import dumps


@click.command("plugins")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List plugins, what they bring, and which are broken."""
    from langadapt.registry.plugins import load_plugins

    found = load_plugins(ctx.obj["plugins"]).found
    if as_json:
        rows = [
            {
                "name": p.name,
                "version": p.version,
                "module": p.module,
                "written_for": p.written_for,
                "problem": p.problem,
                "hooks": p.hooks,
                "components": [f"{ref.kind} {ref.name}" for ref in p.components],
                "data_dirs": [str(folder) for folder in p.data_dirs],
            }
            for p in found
        ]
        click.echo(dumps(rows))
        return
    for plugin in found:
        click.secho(f"{plugin.name} {plugin.version}".strip(), bold=True, nl=False)
        click.echo(f"  ({plugin.module}{f', for langadapt {plugin.written_for}' if plugin.written_for else ''})")
        if plugin.problem:
            click.secho(f"  broken: {plugin.problem}", fg="red")
        for ref in plugin.components:
            click.echo(f"  {ref.kind} {ref.name}: {ref.summary}")
        for folder in plugin.data_dirs:
            click.echo(f"  manifests in {folder}")
