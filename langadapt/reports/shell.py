"""A page that needs no network: style, charts (Observable Plot on D3, vendored) and data in one file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

ASSETS = files("langadapt.reports") / "assets"
SCRIPTS = ("d3.min.js", "plot.min.js", "charts.js")


def page(title: str, sections: Sequence[tuple[str, str]], data: Any) -> str:
    """A whole page.

    Args:
        title: plain text.
        sections: (heading, HTML) in order; those without HTML are left out.
        data: what the charts draw, as plain data; figures name their chart by ``data-chart``.
    """
    kept = [(f"part-{i}", heading, body) for i, (heading, body) in enumerate(sections) if body]
    links = "".join(f'<li><a href="#{name}">{escape(heading)}</a></li>' for name, heading, _ in kept)
    body = "".join(
        f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{escape(heading)}</h2>{html}</section>'
        for name, heading, html in kept
    )
    scripts = "".join(f"<script>{asset(name)}</script>" for name in SCRIPTS)
    # '<' cannot end the script element it stands in, whatever a text of the data says.
    payload = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<style>{asset('page.css')}</style></head><body>"
        f'<header><h1>{escape(title)}</h1><nav aria-label="Parts of this page"><ul>{links}</ul></nav></header><main>{body}</main>'
        f'<script type="application/json" id="data">{payload}</script>{scripts}</body></html>\n'
    )


def asset(name: str) -> str:
    """A file of the page, which must not end its element."""
    return (ASSETS / name).read_text(encoding="utf-8").replace("</script", "<\\/script")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str, numbers: bool = True) -> str:
    """A table of plain texts that can be scrolled by keyboard; the first column heads its rows.

    Args:
        numbers: whether the other columns are numbers, and stand to the right.
    """
    kind = ' class="numbers"' if numbers else ""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join(f'<tr><th scope="row">{escape(row[0])}</th>{_cells(row[1:])}</tr>' for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption, quote=True)}"><table{kind}>'
        f"<caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(row: Sequence[str]) -> str:
    return "".join(f"<td>{escape(cell)}</td>" for cell in row)


def chart(kind: str, about: str, **options: Any) -> str:
    """A place for a chart; `about` is what it shows, for those who cannot see it, and its caption."""
    told = escape(json.dumps(options, ensure_ascii=False), quote=True)
    return f'<figure tabindex="0" data-chart="{kind}" data-options="{told}"><figcaption>{escape(about)}</figcaption></figure>'


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Terms and what they are; those without a value are left out."""
    return "<dl>" + "".join(f"<div><dt>{escape(term)}</dt><dd>{escape(value)}</dd></div>" for term, value in pairs if value) + "</dl>"


def listed(lines: Sequence[str]) -> str:
    """Sentences as a list; nothing where there are none."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""
