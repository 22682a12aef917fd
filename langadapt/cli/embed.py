"""``langadapt embed``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import IO

import click

from langadapt.cli.options import named_adapters


@click.command("embed")
@click.argument("encoder")
@click.argument("texts", required=False, type=click.Path(path_type=Path))
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write float32 vectors to this .npy file.")
@click.option("--adapter", "adapters", multiple=True, metavar="NAME=PATH", help="Add this trained adapter (repeatable).")
@click.option("--per-line", is_flag=True, help="Each line is ADAPTER, a tab, and the text; '-' is the base alone.")
@click.option("--use", metavar="NAME", help="The adapter for all texts, where several are added.")
@click.option("--route", is_flag=True, help="Choose each text's adapter by what the adapters were trained on.")
@click.option("--quantization", type=click.Choice(["8bit", "4bit"]), help="Load the base's linear layers in 8 or 4 bit.")
@click.option("--pooler", metavar="NAME", help="Another pooler than the encoder's own.")
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
    adapters: tuple[str, ...],
    per_line: bool,
    use: str | None,
    route: bool,
    quantization: str | None,
    pooler: str | None,
    normalize: bool,
    precision: str,
    batch_tokens: int,
    device: str | None,
    quiet: bool,
) -> None:
    """Turn TEXTS (a file, one text a line; or standard input) into vectors of ENCODER (a folder or Hub id).

    Without --output, one JSON object a line goes to standard output: {"text": …, "vector": […]}.

    \b
    langadapt embed BASE texts.txt --adapter telecom=runs/en-telecom-domain-adapter/release
    langadapt embed BASE mixed.tsv --adapter telecom=… --adapter clinical=… --per-line
    """
    from langadapt.data import tables
    from langadapt.errors import DataError
    from langadapt.inference.encoder import Encoder
    from langadapt.registry.setup import setup
    from langadapt.store import disk_error

    if output is not None and output.suffix != ".npy":
        raise DataError(
            f"vectors are written in NumPy's format, and '{output.suffix or output.name}' says another",
            where=str(output),
            hint="End the name in .npy; without -o, JSON lines go to standard output.",
        )
    if output is not None and not output.absolute().parent.is_dir():
        raise DataError("there is no such folder to write to", where=str(output.absolute().parent), hint="Make it first.")
    lines = [text for _, text in tables.lines(texts)] if texts else _stdin(sys.stdin.buffer)
    if not lines:
        raise DataError("there is no text", where=str(texts or "standard input"))
    added = named_adapters(adapters)
    _check_choice(len(added), per_line, use, route)
    names: list[str | None] | str | None = use or (next(iter(added)) if len(added) == 1 else None)
    if per_line:
        names, lines = _split(lines, str(texts or "standard input"))
    registry, _ = setup(ctx.obj["plugins"])
    loaded = Encoder.load(encoder, device=device, precision=precision, registry=registry, quantization=quantization, pooler=pooler)
    for name, path in added.items():
        loaded.add_adapter(name, path)
    if route:
        names = loaded.route(lines, batch_tokens=batch_tokens)
    vectors = loaded.encode(lines, adapter=names, batch_tokens=batch_tokens, progress=not quiet, normalize=normalize or None)
    if loaded.stats.truncated and not quiet:
        limits = " or ".join(map(str, loaded.stats.limits))
        click.echo(f"{loaded.stats.truncated} of {len(lines)} texts were truncated at {limits} tokens", err=True)
    if output is None:
        chosen = names if isinstance(names, list) else [names] * len(lines)
        for text, its, vector in zip(lines, chosen, vectors, strict=True):
            line = {"text": text, **({"adapter": its} if added else {}), "vector": [round(float(v), 6) for v in vector]}
            click.echo(json.dumps(line, ensure_ascii=False))
        return
    import numpy as np

    temporary = output.with_name(f".{output.name}.part")
    try:
        with temporary.open("wb") as handle:
            np.save(handle, vectors)
        temporary.rename(output)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise disk_error(error, f"{output} cannot be written", "--output") from error
    click.echo(f"{len(vectors):,} vectors of {vectors.shape[1]} dimensions in {output}", err=True)


def _check_choice(added: int, per_line: bool, use: str | None, route: bool) -> None:
    """One way of choosing, and one that the number of adapters leaves open."""
    if per_line + route + (use is not None) > 1:
        raise click.UsageError("--per-line, --use and --route exclude one another.")
    if not added and (per_line or route or use):
        raise click.UsageError("Add adapters with --adapter NAME=PATH first.")
    if added > 1 and not (per_line or route or use):
        raise click.UsageError("Several adapters: choose with --per-line, --use NAME or --route.")


def _split(lines: list[str], where: str) -> tuple[list[str | None], list[str]]:
    """Adapter names and texts of lines ``ADAPTER<tab>TEXT``."""
    from langadapt.errors import DataError

    names: list[str | None] = []
    texts = []
    for number, line in enumerate(lines, 1):
        name, tab, text = line.partition("\t")
        if not tab:
            raise DataError("there is no tab between an adapter's name and the text", where=f"{where}:{number}")
        names.append(None if name.strip() in ("", "-") else name.strip())
        texts.append(text)
    return names, texts


def _stdin(stream: IO[bytes]) -> list[str]:
    from langadapt.errors import DataError

    found = []
    for number, raw in enumerate(stream, 1):
        try:
            found.append(raw.decode("utf-8").rstrip("\r\n"))
        except UnicodeDecodeError as error:
            raise DataError("not valid UTF-8", where=f"standard input:{number}") from error
    return found
