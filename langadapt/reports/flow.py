"""The plan as a picture: stages from top to bottom, each below what it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDE, TALL, ACROSS, DOWN = 150, 46, 24, 34
"""Size of a stage and the room between two, in pixels."""


def flow(stages: Sequence[Mapping[str, Any]]) -> str:
    """An SVG of stages (``name``, ``do``, ``inputs``, ``from_store``, ``seconds``); colours are the page's."""
    level: dict[str, int] = {}
    rows: list[list[str]] = []
    for stage in stages:
        level[stage["name"]] = 1 + max((level[name] for name in stage["inputs"]), default=-1)
        while len(rows) <= level[stage["name"]]:
            rows.append([])
        rows[level[stage["name"]]].append(stage["name"])
    widest = max(len(row) for row in rows)
    width, height = widest * (WIDE + ACROSS) + ACROSS, len(rows) * (TALL + DOWN) + DOWN
    places = {}
    for i, row in enumerate(rows):
        left = (width - len(row) * (WIDE + ACROSS) + ACROSS) / 2
        places.update({name: (left + j * (WIDE + ACROSS), DOWN / 2 + i * (TALL + DOWN)) for j, name in enumerate(row)})
    parts = [_arrow(places[name], places[stage["name"]]) for stage in stages for name in stage["inputs"]]
    parts += [_box(places[stage["name"]], stage) for stage in stages]
    told = "; ".join(f"{stage['name']} ({stage['do']}) reads {', '.join(stage['inputs']) or 'nothing'}" for stage in stages)
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    picture = f'<svg class="flow" role="img" aria-label="{escape(told, quote=True)}" {size}>{"".join(parts)}</svg>'
    return f'<div class="scroll" tabindex="0" role="region" aria-label="Plan as a picture">{picture}</div>'


def _box(place: tuple[float, float], stage: Mapping[str, Any]) -> str:
    x, y = place
    state = "stored" if stage["from_store"] else "ran"
    cost = "from the store" if stage["from_store"] else f"{stage['seconds']:,.1f} s" if "seconds" in stage else ""
    name = stage["name"] if len(stage["name"]) <= 20 else stage["name"][:19] + "…"
    return (
        f'<g class="{state}"><rect x="{x:.0f}" y="{y:.0f}" width="{WIDE}" height="{TALL}" rx="6"/>'
        f'<text x="{x + WIDE / 2:.0f}" y="{y + 19:.0f}">{escape(name)}</text>'
        f'<text class="small" x="{x + WIDE / 2:.0f}" y="{y + 36:.0f}">{escape(stage["do"])}{" · " + cost if cost else ""}</text></g>'
    )


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    x0, y0, x1, y1 = start[0] + WIDE / 2, start[1] + TALL, end[0] + WIDE / 2, end[1]
    bend = (y1 - y0) / 2
    return f'<path d="M{x0:.0f} {y0:.0f}C{x0:.0f} {y0 + bend:.0f} {x1:.0f} {y1 - bend:.0f} {x1:.0f} {y1:.0f}"/>'
