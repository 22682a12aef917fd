"""``langadapt tokens``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from langadapt.cli.options import make_request, request_options

if TYPE_CHECKING:
    from langadapt.modeling.segmentation import Advice


@click.command("tokens")
@request_options
@click.option("--corpus", metavar="PATH", help="Text to look at. [default: the language's corpus, or its NLI pairs]")
@click.option("--budget", type=click.IntRange(1), default=2000, show_default=True, help="Tokens that an extension may add.")
@click.option("--vocab-size", type=click.IntRange(100), default=16_000, show_default=True, help="Size of a vocabulary of its own.")
@click.option("--quiet", is_flag=True, help="Say nothing but warnings and the result.")
@click.pass_context
def command(ctx: click.Context, /, corpus: str | None, budget: int, vocab_size: int, quiet: bool, as_json: bool, **values: Any) -> None:
    """Measure a base's vocabulary on a language's or domain's text, beside pruned, extended and new ones, and advise.

    \b
    langadapt tokens --lang mr
    langadapt tokens --lang id --domain twitter --base indolem/indobert-base-uncased --corpus tweets.txt.gz
    """
    from langadapt.running.advisor import advise

    if corpus:
        values["resources"] = (*values["resources"], f"corpus={corpus}")
    advice, folder = advise(
        make_request(values),
        plugins=ctx.obj["plugins"],
        store=values["store"],
        out=values["out"],
        budget=budget,
        vocab_size=vocab_size,
        quiet=quiet or as_json,
    )
    click.echo(json.dumps(dataclasses.asdict(advice), ensure_ascii=False, indent=2, allow_nan=False) if as_json else _shown(advice, folder))


ROWS = (
    ("vocabulary", "entries", "{:,}"),
    ("used", "rows in use", "{:.0%}"),
    ("overlap", "shared with the base", "{:.0%}"),
    ("fertility", "tokens a word", "{:.2f}"),
    ("continued", "words in several tokens", "{:.1%}"),
    ("fragments", "fragment score", "{:.2f}"),
    ("unknown", "unknown tokens", "{:.2%}"),
    ("tokens", "tokens a text", "{:.1f}"),
    ("tokens_95", "95th percentile", "{:.0f}"),
    ("compute", "tokens over the base's", "{:.2f}"),
    ("embedding_mb", "embedding rows, MB", "{:.0f}"),
)


def _shown(advice: Advice, folder: Path) -> str:
    """The table, what could not be tried, and the advice."""
    table = [["", *advice.cuts]]
    for key, title, form in ROWS:
        values = [getattr(cut, key) for cut in advice.cuts.values()]
        table.append([title, *("–" if value is None else form.format(value) for value in values)])
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = ["  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]) for row in table]
    lines += [f"{name}: not tried, {reason}" for name, reason in advice.failed.items()]
    lines += [
        "",
        f"Measured on {advice.texts:,} held-out texts, {advice.words:,} words.",
        f"Advice: {advice.choice}. {' '.join(advice.reasons)}",
    ]
    return "\n".join([*lines, f"Picture: {folder / 'tokens.svg'}"])
