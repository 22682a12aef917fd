"""Options that `build` and `plan` share, and the request they make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from langadapt.plan import Request

F = TypeVar("F", bound=Callable[..., Any])


def request_options(function: F) -> F:
    """What to build: language, domain, recipes, overrides."""
    for option in reversed(
        [
            click.option("--lang", metavar="CODE|FILE.yaml", help="Language: a code, or a manifest of your own."),
            click.option("--domain", metavar="NAME", help="Domain: twitter, clinical, telecom, or a plugin's."),
            click.option("--recipe", "recipes", multiple=True, metavar="NAME|FILE.yaml", help="Recipe; several are chained."),
            click.option("--base", metavar="PATH|HUB_ID", help="Start from this encoder."),
            click.option("--resource", "resources", multiple=True, metavar="NAME=PATH", help="Use these files for a resource."),
            click.option(
                "--sources", type=click.Choice(["starter", "hub"]), help="Where resources come from. [default: starter if there is one]"
            ),
            click.option(
                "--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a manifest value: stages.NAME.OPTION=…, lang.KEY=…"
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
    """The request of a command's options."""
    from langadapt.plan import Request

    return Request(
        recipes=tuple(values["recipes"]),
        lang=values["lang"],
        domain=values["domain"],
        sets=tuple(values["sets"]),
        base=values["base"],
        resources=tuple(values["resources"]),
        sources=values["sources"],
        seed=values["seed"],
    )
