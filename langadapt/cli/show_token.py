"""``langadapt show-token``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from langadapt.cli.json_output import dumps

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from langadapt.artifacts.vocabulary import Origins


@click.command("show-token")
@click.argument("encoder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("tokens", nargs=-1, required=True, metavar="TOKEN…")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def command(encoder: Path, tokens: tuple[str, ...], as_json: bool) -> None:
    """Say where the rows of tokens came from, in a release or an artifact ENCODER.

    A TOKEN is a piece as the vocabulary writes it (▁kata, ##nya), or a text, whose pieces are shown.

    \b
    langadapt show-token runs/id-twitter-domain-vocab-mlm/release gue banget
    """
    from langadapt.artifacts import vocabulary
    from langadapt.errors import ModelError
    from langadapt.modeling.loading import load_tokenizer

    encoder = _encoder(encoder)
    origins = vocabulary.load(encoder)
    if origins is None:
        raise ModelError(
            "its vocabulary was never moved: every row is the base's own",
            where=str(encoder),
            hint="Name a release whose recipe has an init-vocab stage.",
        )
    tokenizer = load_tokenizer(encoder)
    if len(origins.words) < len(tokenizer):
        raise ModelError(
            f"its {vocabulary.FILE} knows {len(origins.words):,} tokens, its tokenizer has {len(tokenizer):,}",
            where=str(encoder),
            hint="One of the two was changed since it was built: build it again.",
        )
    found = {token: [_facts(i, tokenizer, origins) for i in _ids(token, tokenizer)] for token in tokens}
    if as_json:
        click.echo(dumps(found))
        return
    for token, rows in found.items():
        click.secho(token, bold=True)
        for row in rows:
            sources = " + ".join(f"{weight:g} × {piece}" for piece, weight in row["sources"])
            if row["others"]:
                sources += f" + {row['others']:,} others ({row['others_weight']:g} together)"
            click.echo(f"  {row['id']:>7,}  {row['token']}  {row['origin']}{': ' + sources if sources else ''}")


def _encoder(folder: Path) -> Path:
    """The folder itself, or the release of a run."""
    from langadapt.errors import ModelError

    if (folder / "config.json").is_file():
        return folder
    if (folder / "release" / "config.json").is_file():
        return folder / "release"
    raise ModelError("there is no encoder here", where=str(folder), hint="Name a release, an artifact or a run's folder.")


MARKS = ("▁", "##", "Ġ")
"""What vocabularies write before pieces at a word's beginning, or inside one."""


def _ids(token: str, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """The id of a piece, or the ids of a text's pieces, and of the piece inside words that is written alike."""
    known = tokenizer.get_vocab().get(token)
    if known is not None and token.startswith(MARKS):
        return [known]
    found = list(tokenizer.encode(token, add_special_tokens=False))
    return found if known is None or known in found else [*found, known]


def _facts(index: int, tokenizer: PreTrainedTokenizerFast, origins: Origins) -> dict[str, Any]:
    others, weight = origins.rest.get(index, (0, 0.0))
    return {
        "token": tokenizer.convert_ids_to_tokens(index),
        "id": index,
        "origin": origins.words[index],
        "method": origins.method,
        "sources": origins.sources[index],
        "others": others,
        "others_weight": weight,
    }
