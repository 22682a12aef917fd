"""``langadapt check``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pydantic import BaseModel


@click.command("check")
@click.argument("files", nargs=-1)
@click.pass_context
def command(ctx: click.Context, files: tuple[str, ...]) -> None:
    """Check manifests without building: the FILES given, or all there are; and import every component.

    Every problem is reported, each with its file and line.
    """
    from langadapt.compose import parse_manifest
    from langadapt.errors import LangadaptError, ManifestError, Problems, RegistryError, raise_all
    from langadapt.manifests import yaml
    from langadapt.manifests.language import DomainManifest, LanguageManifest
    from langadapt.manifests.recipe import RecipeManifest
    from langadapt.registry.catalog import SORTS
    from langadapt.runner import setup

    registry, catalog = setup(ctx.obj["plugins"])
    models: dict[str, type[BaseModel]] = {"language": LanguageManifest, "domain": DomainManifest, "recipe": RecipeManifest}
    paths = list(files) or [str(path) for sort in SORTS for path in catalog.files[sort].values()]
    problems: list[LangadaptError] = []
    for path in paths:
        try:
            from pathlib import Path

            document = yaml.load(Path(path))
            sort = next((s for s in SORTS if s in document.data), None)
            if sort is None:
                raise ManifestError("is no manifest", where=f"{path}:1", hint="Start it with recipe:, language: or domain:.")
            parse_manifest(models[sort], document)
        except LangadaptError as error:
            problems += error.errors if isinstance(error, Problems) else [error]
    components = [] if files else registry.list()
    for item in components:
        try:
            registry.get(item.ref.kind, item.ref.name)
        except LangadaptError as error:
            problems.append(error)
    if not files:
        problems += [RegistryError(f"plugin '{p.name}' is broken: {p.problem}") for p in registry.plugins.broken]
    raise_all(problems)
    click.echo(f"{len(paths)} manifests and {len(components)} components are fine.")
