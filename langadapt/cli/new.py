"""``langadapt new``."""

from __future__ import annotations

from pathlib import Path

import click

KINDS = (
    "adaptation annotator corpus embedding evaluator exporter generator merger normalizer objective optimizer pairs pooler sampler "
    "schedule selector source tokenizer transform translator vocab-init"
)


@click.group("new")
def command() -> None:
    """Begin a package of your own: it installs, passes its tests and can be used in a build as it is."""


@command.command("plugin")
@click.argument("name")
@click.option("--kind", "kinds", multiple=True, required=True, help=f"Kind of a component (repeatable): {KINDS}.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Folder to write; it must not exist. [default: langadapt-NAME]")
def plugin(name: str, kinds: tuple[str, ...], output: Path | None) -> None:
    """Begin the plugin NAME with a small component of each --kind, to be changed into yours.

    \b
    langadapt new plugin my-pooler --kind pooler
    pip install -e 'langadapt-my-pooler[test]' && pytest langadapt-my-pooler
    """
    from langadapt.scaffold.package import plugin_package

    _write(name, plugin_package(name, kinds), output)


@command.command("recipe")
@click.argument("name")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Folder to write; it must not exist. [default: langadapt-NAME]")
def recipe(name: str, output: Path | None) -> None:
    """Begin a package that brings the recipe NAME, with a test that builds it on a toy encoder."""
    from langadapt.scaffold.package import recipe_package

    _write(name, recipe_package(name), output)


def _write(name: str, texts: dict[str, str], output: Path | None) -> None:
    from langadapt.scaffold.package import write
    from langadapt.store import disk_error

    folder = (output or Path(f"langadapt-{name}")).expanduser()
    try:
        write(texts, folder)
    except OSError as error:
        raise disk_error(error, f"{folder} cannot be written", "--output") from error
    click.echo("\n".join(f"{folder / path}" for path in sorted(texts)))
    click.echo(f"\nTry it: pip install -e '{folder}[test]' && pytest {folder}")
