"""``langadapt embed``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import IO

import click


@click.command("embed")
@click.argument("encoder")
@click.argument("texts", required=False, type=click.Path(path_type=Path))
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write float32 vectors to this .npy file.")
@click.option("--normalize", is_flag=True, help="Scale vectors to length one.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
@click.option("--batch-tokens", type=click.IntRange(16), default=4096, show_default=True, help="Padded tokens in one forward pass.")
@click.option("--device", type=click.Choice(["cpu", "cuda", "mps"]), help="[default: the best there is]")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.pass_context
def command(
    ctx: click.Context,
    encoder: str,
    texts: Path | None,
    output: Path | None,
    normalize: bool,
    precision: str,
    batch_tokens: int,
    device: str | None,
    quiet: bool,
) -> None:
    """Turn TEXTS (a file, one text a line; or standard input) into vectors of ENCODER (a folder or Hub id).

    Without --output, one JSON object a line goes to standard output: {"text": …, "vector": […]}.
    """
    from langadapt.artifacts import tables
    from langadapt.errors import DataError
    from langadapt.inference.encoder import Encoder
    from langadapt.runner import setup

    lines = [text for _, text in tables.lines(texts)] if texts else _stdin(sys.stdin.buffer)
    if not lines:
        raise DataError("there is no text", where=str(texts or "standard input"))
    registry, _ = setup(ctx.obj["plugins"])
    loaded = Encoder.load(encoder, device=device, precision=precision, registry=registry)
    vectors = loaded.encode(lines, batch_tokens=batch_tokens, progress=not quiet, normalize=normalize or None)
    if loaded.stats.truncated and not quiet:
        click.echo(f"{loaded.stats.truncated} of {len(lines)} texts were truncated at {loaded.settings.max_length} tokens", err=True)
    if output is None:
        for text, vector in zip(lines, vectors, strict=True):
            click.echo(json.dumps({"text": text, "vector": [round(float(v), 6) for v in vector]}, ensure_ascii=False))
        return
    import numpy as np

    temporary = output.with_name(f".{output.name}.part")
    with temporary.open("wb") as handle:
        np.save(handle, vectors)
    temporary.rename(output)
    click.echo(f"{len(vectors):,} vectors of {vectors.shape[1]} dimensions in {output}", err=True)


def _stdin(stream: IO[bytes]) -> list[str]:
    from langadapt.errors import DataError

    found = []
    for number, raw in enumerate(stream, 1):
        try:
            found.append(raw.decode("utf-8").rstrip("\r\n"))
        except UnicodeDecodeError as error:
            raise DataError("not valid UTF-8", where=f"standard input:{number}") from error
    return found
