"""``langadapt translate``."""

from __future__ import annotations

from pathlib import Path

import click

from langadapt.cli.options import components


@click.command("translate")
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--from", "source", required=True, metavar="CODE", help="Language of the table (BCP 47).")
@click.option("--to", "target", required=True, metavar="CODE", help="Language to translate into.")
@click.option("--translator", required=True, metavar="NAME|SLOT", shell_complete=components("translator"), help="Engine.")
@click.option("--column", "columns", multiple=True, metavar="NAME", help="Columns to translate. [default: the sentence columns]")
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="Write the table here, as TSV.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.pass_context
def command(
    ctx: click.Context, table: Path, source: str, target: str, translator: str, columns: tuple[str, ...], output: Path, quiet: bool
) -> None:
    """Translate columns of TABLE (TSV, CSV, JSONL, Parquet; .gz too); other columns stay.

    A test set made this way measures against one engine's own words: say so beside every score on it.

    \b
    langadapt translate stsb-en.tsv --from en --to gl --translator apertium -o stsb-gl.tsv
    """
    from langadapt.artifacts.dataset import TEXTS
    from langadapt.contracts.component import Context
    from langadapt.contracts.data import Translator
    from langadapt.data import tables
    from langadapt.errors import DataError
    from langadapt.planning.request import slot
    from langadapt.progress import ConsoleLog
    from langadapt.registry.setup import setup
    from langadapt.store import Store, default_root, disk_error

    rows = [row for _, row in tables.rows(table)]
    if not rows:
        raise DataError("there are no rows", where=str(table))
    wanted = list(columns) or [name for name in rows[0] if name in TEXTS]
    missing = [name for name in wanted if name not in rows[0]]
    if missing or not wanted:
        what = f"no column '{missing[0]}'" if missing else "no sentence column"
        raise DataError(what, where=str(table), hint=f"Its columns are {', '.join(rows[0])}; choose with --column NAME.")
    registry, _ = setup(ctx.obj["plugins"])
    engine = registry.make(Translator, slot(translator, "--translator") or "")
    offer = engine.offer(source, target)
    if not offer.ready:
        raise DataError(f"the translator '{engine.name}' cannot serve {source} → {target}: {offer.needs}")
    context = Context(cache=Store(default_root()).cache, log=ConsoleLog(quiet))
    texts = list(dict.fromkeys(str(row[name]) for row in rows for name in wanted))
    stream = engine.translate(texts, source, target, context)
    said = {texts[place]: one.text for place, one in context.log.track(stream, "translating", len(texts))}
    lines = ["\t".join(rows[0])]
    lines += ["\t".join(" ".join(str(said[v] if k in wanted else v).split()) for k, v in row.items()) for row in rows]
    temporary = output.with_name(f".{output.name}.part")
    try:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        temporary.rename(output)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise disk_error(error, f"{output} cannot be written", "--output") from error
    click.echo(f"{len(rows):,} rows, {len(texts):,} distinct sentences, {offer.name}: {output}", err=True)
