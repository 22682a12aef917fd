"""``langadapt translators``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from langadapt.cli.json_output import dumps

if TYPE_CHECKING:
    from langadapt.registry.registry import Registry


@click.command("translators")
@click.option("--from", "source", required=True, metavar="CODE", help="Language to translate from (BCP 47).")
@click.option("--to", "target", required=True, metavar="CODE", help="Language to translate into.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
@click.pass_context
def command(ctx: click.Context, source: str, target: str, as_json: bool) -> None:
    """Say what can translate between two languages here, and what each engine needs.

    \b
    langadapt translators --from en --to gl
    """
    from langadapt.registry.setup import setup

    registry, _ = setup(ctx.obj["plugins"])
    found = [_row(registry, item.ref.name, item.ref.summary, source, target) for item in registry.list("translator")]
    if as_json:
        click.echo(dumps(found))
        return
    width = max((len(row["translator"]) for row in found), default=0)
    for row in found:
        state = f"ready: {row['name']} ({row['licence']})" if row["ready"] else f"needs: {row['needs']}"
        click.echo(f"{row['translator'].ljust(width)}  {state}")


def _row(registry: Registry, name: str, summary: str, source: str, target: str) -> dict[str, Any]:
    """One translator with its default options; one that cannot do without options says which."""
    found: Any = registry.get("translator", name)
    required = [option for option, info in found.model_fields.items() if info.is_required()]
    if required:
        example = ", ".join(f"{option}: …" for option in required)
        needs = f"--translator '{{use: {name}, {example}}}'  ({summary})"
        return {"translator": name, "name": "", "ready": False, "needs": needs, "licence": ""}
    return {"translator": name, **dataclasses.asdict(found().offer(source, target))}
