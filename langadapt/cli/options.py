"""Options that `build` and `plan` share, and the request they make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from langadapt.contracts.plan import Request

F = TypeVar("F", bound=Callable[..., Any])


Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def manifests(sort: str) -> Complete:
    """Completes the names of languages, domains or recipes."""

    def complete(ctx: click.Context, parameter: click.Parameter, start: str) -> list[str]:
        from langadapt.registry.catalog import Catalog
        from langadapt.registry.plugins import load_plugins

        return [name for name in Catalog.of(load_plugins().data_dirs).files[sort] if name.startswith(start)]

    return complete


def components(kind: str) -> Complete:
    """Completes the names of one kind of component."""

    def complete(ctx: click.Context, parameter: click.Parameter, start: str) -> list[str]:
        from langadapt.registry.plugins import load_plugins
        from langadapt.registry.registry import Registry

        return [name for name in Registry(load_plugins()).names(kind) if name.startswith(start)]

    return complete


def request_options(function: F) -> F:
    """What to build: language, domain, recipes, overrides."""
    for option in reversed(
        [
            click.option(
                "--lang",
                metavar="CODE|FILE.yaml",
                shell_complete=manifests("language"),
                help="Language: a code, or a manifest of your own.",
            ),
            click.option(
                "--domain",
                metavar="NAME|FILE.yaml",
                shell_complete=manifests("domain"),
                help="Domain: twitter, clinical, telecom, or a plugin's.",
            ),
            click.option(
                "--recipe",
                "recipes",
                multiple=True,
                metavar="NAME|FILE.yaml",
                shell_complete=manifests("recipe"),
                help="Recipe; several are chained.",
            ),
            click.option("--base", metavar="PATH|HUB_ID", help="Start from this encoder."),
            click.option("--resource", "resources", multiple=True, metavar="NAME=PATH", help="Use these files for a resource."),
            click.option(
                "--sources", type=click.Choice(["starter", "hub"]), help="Where resources come from. [default: starter if there is one]"
            ),
            click.option(
                "--translator",
                metavar="NAME|SLOT",
                shell_complete=components("translator"),
                help="Translates pairs given in another language (--resource nli-en=…): a name, or '{use: NAME, …}'.",
            ),
            click.option(
                "--licence-policy",
                type=click.Choice(["any", "permissive"]),
                default="any",
                show_default=True,
                help="permissive: refuse bases, data and engines that forbid redistribution or state no licence.",
            ),
            click.option(
                "--set",
                "sets",
                multiple=True,
                metavar="KEY=VALUE",
                help="Change a manifest value: stages.NAME.OPTION=…, lang.KEY=…, domain.KEY=…",
            ),
            click.option("--seed", type=int, default=42, show_default=True, help="The one seed of the plan."),
            click.option(
                "--store", type=click.Path(path_type=Path), help="Artifact store. [default: $LANGADAPT_STORE or ~/.cache/langadapt/store]"
            ),
            click.option("--out", type=click.Path(path_type=Path), help="Run folder. [default: runs/<lang>-<recipe>]"),
            click.option("--json", "as_json", is_flag=True, help="Print JSON for machines."),
        ]
    ):
        function = option(function)
    return function


def make_request(values: dict[str, Any]) -> Request:
    """The request of a command's options: the one place where they are read.

    Raises:
        LangadaptError: an option that is not written as it must be.
    """
    from langadapt.contracts.plan import Request
    from langadapt.planning.request import overrides, resource_paths, slot

    return Request(
        recipes=tuple(values["recipes"]),
        lang=values["lang"],
        domain=values["domain"],
        overrides=overrides(values["sets"]),
        base=values["base"],
        resources=resource_paths(values["resources"]),
        sources=values["sources"],
        translator=slot(values["translator"], "--translator"),
        licence_policy=values["licence_policy"],
        seed=values["seed"],
    )


def named_adapters(items: tuple[str, ...]) -> dict[str, str]:
    """Paths of ``--adapter NAME=PATH`` by name."""
    found: dict[str, str] = {}
    for item in items:
        name, equals, path = item.partition("=")
        if not equals or not name or not path:
            raise click.BadParameter(f"{item} is not NAME=PATH", param_hint="--adapter")
        if name == "-":
            raise click.BadParameter("- stands for the base alone; name the adapter", param_hint="--adapter")
        if name in found:
            raise click.BadParameter(f"two adapters are called {name}", param_hint="--adapter")
        found[name] = path
    return found
