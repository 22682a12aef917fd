"""``langadapt list``."""

from __future__ import annotations

import click

from langadapt.cli.json_output import dumps


def _whats(ctx: click.Context, parameter: click.Parameter, start: str) -> list[str]:
    from langadapt.contracts.kinds import KINDS
    from langadapt.registry.catalog import SORTS

    return [name for name in (*(f"{sort}s" for sort in SORTS), *KINDS) if name.startswith(start)]


@click.command("list")
@click.argument("what", required=False, shell_complete=_whats)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
@click.pass_context
def command(ctx: click.Context, what: str | None, as_json: bool) -> None:
    """List languages, domains, recipes and components.

    WHAT is languages, domains, recipes, or a kind of component (tokenizer, objective, …); nothing lists all.
    No component is imported.
    """
    from langadapt.contracts.kinds import KINDS
    from langadapt.errors import RegistryError, did_you_mean
    from langadapt.registry.catalog import SORTS
    from langadapt.registry.setup import setup

    registry, catalog = setup(ctx.obj["plugins"])
    sorts = {f"{sort}s": sort for sort in SORTS}
    if what is not None and what not in sorts and what.removesuffix("s") not in KINDS and what not in KINDS:
        raise RegistryError(f"there is nothing called '{what}' to list", hint=did_you_mean(what, [*sorts, *KINDS]))
    found: dict[str, list[dict[str, str]]] = {}
    for plural, sort in sorts.items():
        if what in (None, plural):
            found[plural] = [
                {"name": name, "summary": catalog.summary(sort, name), "file": str(path)}
                for name, path in sorted(catalog.files[sort].items())
            ]
    for kind in KINDS:
        if what in (None, kind, f"{kind}s"):
            found[kind] = [{"name": i.ref.name, "summary": i.ref.summary, "plugin": i.plugin} for i in registry.list(kind)]
    if as_json:
        click.echo(dumps(found))
        return
    for heading, rows in found.items():
        if not rows:
            continue
        click.secho(heading, bold=True)
        width = max(len(row["name"]) for row in rows)
        for row in rows:
            note = f"{row['summary']}  [{row['plugin']}]" if "plugin" in row else row["summary"]
            click.echo(f"  {row['name'].ljust(width)}  {note}")
