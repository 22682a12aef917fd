"""``langadapt show``."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import click

from langadapt.cli.json_output import dumps

if TYPE_CHECKING:
    from pydantic import BaseModel


def _sorts(ctx: click.Context, parameter: click.Parameter, start: str) -> list[str]:
    from langadapt.contracts.kinds import KINDS
    from langadapt.registry.catalog import SORTS

    return [name for name in (*SORTS, *KINDS) if name.startswith(start)]


def _names(ctx: click.Context, parameter: click.Parameter, start: str) -> list[str]:
    from langadapt.cli.options import components, manifests
    from langadapt.registry.catalog import SORTS

    sort = ctx.params.get("sort") or ""
    return (manifests if sort in SORTS else components)(sort)(ctx, parameter, start)


@click.command("show")
@click.argument("sort", shell_complete=_sorts)
@click.argument("name", shell_complete=_names)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
@click.pass_context
def command(ctx: click.Context, sort: str, name: str, as_json: bool) -> None:
    """Show one thing whole.  SORT is language, domain, recipe, or a kind of component.

    \b
    langadapt show language mr
    langadapt show objective multiple-negatives
    """
    from langadapt.contracts.kinds import KINDS
    from langadapt.errors import RegistryError, did_you_mean
    from langadapt.registry.catalog import SORTS
    from langadapt.registry.setup import setup

    registry, catalog = setup(ctx.obj["plugins"])
    if sort in SORTS:
        document = catalog.load(sort, name)
        _check(sort, document)
        if as_json:
            click.echo(dumps(document.data))
        else:
            from pathlib import Path

            click.echo(f"# {document.file}\n{Path(document.file).read_text(encoding='utf-8').rstrip()}")
        return
    if sort not in KINDS:
        raise RegistryError(f"'{sort}' is neither a manifest nor a kind", hint=did_you_mean(sort, [*SORTS, *KINDS]))
    found = registry.get(sort, name)
    options = [_option(key, info) for key, info in found.model_fields.items()]
    if as_json:
        facts = {"kind": sort, "name": name, "version": found.version, "doc": inspect.getdoc(found), "options": options}
        click.echo(dumps(facts))
        return
    click.secho(f"{sort} {name}", bold=True, nl=False)
    click.echo(f"  ({found.__module__}:{found.__name__}, version {found.version})\n")
    click.echo(inspect.getdoc(found))
    if options:
        click.echo("\noptions")
    for option in options:
        click.echo(f"  {option['name']}: {option['type']} = {option['default']}")


def _option(key: str, info: Any) -> dict[str, str]:
    kind = info.annotation.__name__ if isinstance(info.annotation, type) else str(info.annotation)
    default = "required" if info.is_required() else repr(info.default)
    return {"name": key, "type": kind.replace("typing.", ""), "default": default}


def _check(sort: str, document: Any) -> None:
    from langadapt.manifests.language import DomainManifest, LanguageManifest
    from langadapt.manifests.parse import parse_manifest
    from langadapt.manifests.recipe import RecipeManifest

    models: dict[str, type[BaseModel]] = {"language": LanguageManifest, "domain": DomainManifest, "recipe": RecipeManifest}
    parse_manifest(models[sort], document)
