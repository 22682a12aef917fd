"""A page to look at before training: what the checks dropped, how long the texts are, and rows side by side with their sources."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from datasets import Dataset

PAGE = "data.html"
SAMPLES = 30
"""Rows shown of those kept, and at most of those that one check dropped."""
BINS = 20
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;width:100%;margin:1rem 0}td,th{border-bottom:1px solid #ddd;padding:.4rem;text-align:left;"
    "vertical-align:top}th{background:#f5f5f5}.s{color:#777}.n{text-align:right;white-space:nowrap}svg{max-width:100%}"
)


@dataclass(frozen=True)
class Dropped:
    """What one selector took out: how many rows, and some of them."""

    name: str
    count: int
    samples: list[dict[str, Any]]
    repeats: bool = False
    """Whether what it took out repeated what it left."""


def data_page(title: str, facts: Mapping[str, Any], kept: Dataset, dropped: Sequence[Dropped], rng: np.random.Generator) -> str:
    """The page as HTML, complete in one file.

    Args:
        title: the stage and what it holds.
        facts: figures for the first table (rows read, engine, licences).
        kept: the rows that training will see.
        dropped: by each selector, in the order they ran.
    """
    places = sorted(rng.choice(len(kept), size=min(SAMPLES, len(kept)), replace=False).tolist())
    counts = [[one.name, f"{one.count:,}"] for one in dropped]
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        _table(["", ""], [[str(name), str(value)] for name, value in facts.items()]),
        "<h2>Checks</h2>" + _table(["check", "rows dropped"], [*counts, ["kept", f"{len(kept):,}"]]),
        "<h2>Lengths</h2>" + "".join(_histogram(kept, column) for column in _shown(kept.column_names)),
        f"<h2>Rows, {len(places)} at random</h2>" + _rows([kept[i] for i in places]),
    ]
    parts += [f"<h2>Dropped by {html.escape(one.name)}</h2>" + _rows(one.samples) for one in dropped if one.samples]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style>'
    return head + "\n".join(parts)


def _shown(columns: Sequence[str]) -> list[str]:
    """Text columns with the sources they were translated from beside them."""
    return [name for column in columns if f"source_{column}" in columns for name in (f"source_{column}", column)]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in header) + "</tr>" if any(header) else ""
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{top}{body}</table>"


def _rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """Source and translation under one another, the label or score and the engine's marks beside them."""
    if not rows:
        return ""
    texts = [name for name in rows[0] if f"source_{name}" in rows[0]]
    marks = [name for name in ("label", "score", "quality", "unknown") if name in rows[0]]
    lines = []
    for row in rows:
        pairs = [(html.escape(row[f"source_{name}"]), html.escape(row[name] or "–")) for name in texts]
        cells = [f'<td><span class="s">{source}</span><br>{text}</td>' for source, text in pairs]
        cells += [f'<td class="n">{html.escape(_mark(row[name]))}</td>' for name in marks]
        lines.append("<tr>" + "".join(cells) + "</tr>")
    head = "".join(f"<th>{html.escape(name)}</th>" for name in (*texts, *marks))
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _mark(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _histogram(rows: Dataset, column: str) -> str:
    """Characters a text as bars."""
    lengths = np.array([len(text) for text in rows[column]])
    top = float(np.percentile(lengths, 99)) or 1.0
    counts, _ = np.histogram(np.minimum(lengths, top), bins=BINS, range=(0, top))
    highest, bars = max(int(counts.max()), 1), []
    for i, count in enumerate(counts):
        tall = 60 * count / highest
        bars.append(f'<rect x="{i * 16}" y="{60 - tall:.1f}" width="14" height="{tall:.1f}" fill="#4a7ab5"/>')
    told = f"{column}: median {np.median(lengths):.0f} characters, 99th percentile {top:.0f}"
    picture = f'<svg viewBox="0 0 {16 * BINS} 62" width="{16 * BINS}" height="62" role="img">{"".join(bars)}</svg>'
    return f"<figure>{picture}<figcaption>{html.escape(told)}</figcaption></figure>"
