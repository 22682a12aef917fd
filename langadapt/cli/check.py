"""``langadapt check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from langadapt.cli.json_output import dumps

if TYPE_CHECKING:
    from langadapt.errors import LangadaptError
    from langadapt.registry.registry import Registry


@click.command("check")
@click.argument("files", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
@click.pass_context
def command(ctx: click.Context, files: tuple[str, ...], as_json: bool) -> None:
    """Check manifests without building: the FILES given, or all there are; and import every component.

    Every problem is reported, each with its file and line; so are plugins that import what is internal to langadapt.  What only a
    language or domain can fill in ($lang.x) is left to plan.
    """
    from langadapt.errors import LangadaptError, Problems, RegistryError, raise_all
    from langadapt.registry.catalog import SORTS
    from langadapt.registry.imports import internal_imports
    from langadapt.registry.setup import setup

    registry, catalog = setup(ctx.obj["plugins"])
    paths = list(files) or [str(path) for sort in SORTS for path in catalog.files[sort].values()]
    problems: list[LangadaptError] = []
    for path in paths:
        problems += _problems(path, registry)
    found = [] if files else registry.list()
    for item in found:
        try:
            registry.get(item.ref.kind, item.ref.name)
        except LangadaptError as error:
            problems.append(error)
    if not files:
        problems += [RegistryError(f"plugin '{p.name}' is broken: {p.problem}") for p in registry.plugins.broken]
        problems += [problem for plugin in registry.plugins.found for problem in internal_imports(plugin)]
    if as_json:
        told = [{"where": p.where, "what": p.what, "hint": p.hint} for p in problems]
        click.echo(dumps({"manifests": len(paths), "components": len(found), "problems": told}))
        ctx.exit(Problems.exit_code if problems else 0)
    raise_all(problems)
    click.echo(f"{len(paths)} manifests and {len(found)} components are fine.")


def _problems(path: str, registry: Registry) -> list[LangadaptError]:
    """Everything wrong with one manifest."""
    from langadapt.errors import LangadaptError, ManifestError, Problems
    from langadapt.manifests import yaml
    from langadapt.manifests.language import DomainManifest, LanguageManifest
    from langadapt.manifests.parse import parse_manifest
    from langadapt.planning.recipe_check import check_recipe

    try:
        document = yaml.load(Path(path))
        if "recipe" in document.data:
            check_recipe(document, registry)
        elif "language" in document.data:
            parse_manifest(LanguageManifest, document)
        elif "domain" in document.data:
            parse_manifest(DomainManifest, document)
        else:
            raise ManifestError("is no manifest", where=f"{path}:1", hint="Start it with recipe:, language: or domain:.")
    except LangadaptError as error:
        return error.errors if isinstance(error, Problems) else [error]
    return []
