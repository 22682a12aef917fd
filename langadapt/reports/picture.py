"""Pictures as plain SVG: scores with their intervals, losses over steps."""

from __future__ import annotations

from html import escape
from typing import Any

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
"""Paul Tol's bright scheme, distinct to colour-blind eyes."""
DASHES = ("", " stroke-dasharray='5 3'", " stroke-dasharray='1 3'")
"""Line styles of the curves once the colours begin again."""

_STYLE = "font-family='sans-serif' font-size='12' fill='#222'"


def score_bars(scores: dict[str, list[dict[str, Any]]]) -> str:
    """One group of bars a task and metric, one bar an encoder, with 95 % intervals as whiskers.

    Only figures in ×100 are drawn; the rest stay in the table.
    """
    keys = list(dict.fromkeys((s["task"], s["metric"]) for found in scores.values() for s in found if s["unit"] == "×100"))
    bar, gap, label, width = 16, 14, 190, 420
    height = 40 + len(keys) * (bar * len(scores) + gap) + 20 * len(scores)
    parts = []
    y = 14
    for task, metric in keys:
        parts.append(f"<text x='8' y='{y + bar * len(scores) / 2 + 4:.0f}' {_STYLE}>{escape(f'{task} {metric}')}</text>")
        for i, found in enumerate(scores.values()):
            score = next((s for s in found if (s["task"], s["metric"]) == (task, metric)), None)
            if score is not None:
                parts += _bar(score, label, y + i * bar, bar, width, COLOURS[i % len(COLOURS)])
        y += bar * len(scores) + gap
    for i, name in enumerate(scores):
        parts.append(f"<rect x='{label}' y='{y + 20 * i}' width='12' height='12' fill='{COLOURS[i % len(COLOURS)]}'/>")
        parts.append(f"<text x='{label + 18}' y='{y + 20 * i + 11}' {_STYLE}>{escape(name)}</text>")
    return _page(label + width + 70, height, parts)


def _bar(score: dict[str, Any], x: int, y: int, size: int, width: int, colour: str) -> list[str]:
    scale = width / 100
    value = max(0.0, min(100.0, score["value"]))
    parts = [f"<rect x='{x}' y='{y}' width='{value * scale:.1f}' height='{size - 3}' fill='{colour}'/>"]
    if score["low"] is not None:
        low, high, middle = x + max(0.0, score["low"]) * scale, x + score["high"] * scale, y + (size - 3) / 2
        whisker = f"M{low:.1f} {middle:.1f}H{high:.1f}M{low:.1f} {y + 2}V{y + size - 5}M{high:.1f} {y + 2}V{y + size - 5}"
        parts.append(f"<path d='{whisker}' stroke='#222' fill='none'/>")
    parts.append(f"<text x='{x + max(value, score['high'] or 0) * scale + 6:.0f}' y='{y + size - 5}' {_STYLE}>{score['value']:.1f}</text>")
    return parts


def token_bars(cuts: dict[str, dict[str, Any]]) -> str:
    """One group of bars a measure, one bar a vocabulary, each measure on its own scale."""
    measures = (
        ("fertility", "tokens a word", "{:.2f}"),
        ("continued", "words in several tokens", "{:.0%}"),
        ("unknown", "unknown tokens", "{:.2%}"),
        ("tokens", "tokens a text", "{:.1f}"),
        ("vocabulary", "vocabulary", "{:,}"),
        ("used", "rows in use", "{:.0%}"),
    )
    bar, gap, label, width = 16, 14, 190, 380
    parts: list[str] = []
    y = 14
    for key, title, form in measures:
        parts.append(f"<text x='8' y='{y + bar * len(cuts) / 2 + 4:.0f}' {_STYLE}>{escape(title)}</text>")
        top = max(cut[key] for cut in cuts.values()) or 1
        for i, cut in enumerate(cuts.values()):
            length = cut[key] / top * width
            parts.append(
                f"<rect x='{label}' y='{y + i * bar}' width='{length:.1f}' height='{bar - 3}' fill='{COLOURS[i % len(COLOURS)]}'/>"
            )
            parts.append(f"<text x='{label + length + 6:.0f}' y='{y + i * bar + bar - 5}' {_STYLE}>{form.format(cut[key])}</text>")
        y += bar * len(cuts) + gap
    for i, name in enumerate(cuts):
        parts.append(f"<rect x='{label}' y='{y + 20 * i}' width='12' height='12' fill='{COLOURS[i % len(COLOURS)]}'/>")
        parts.append(f"<text x='{label + 18}' y='{y + 20 * i + 11}' {_STYLE}>{escape(name)}</text>")
    return _page(label + width + 90, y + 20 * len(cuts) + 8, parts)


def loss_curves(curves: dict[str, list[tuple[float, float]]], x_label: str = "step", y_label: str = "loss") -> str:
    """Lines over steps; every curve is a list of (x, y).  Names stand beside the plot, where they hide no line."""
    width, left, bottom = 640, 56, 44
    height = max(320, 40 + 16 * len(curves))
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return _page(width, height, [])
    x_max = max(x for x, _ in points) or 1
    y_min, y_max = min(y for _, y in points), max(y for _, y in points)
    span = (y_max - y_min) or 1.0
    parts = [f"<path d='M{left} 12V{height - bottom}H{width - 12}' stroke='#222' fill='none'/>"]
    for i, (name, curve) in enumerate(curves.items()):
        path = " ".join(
            f"{left + x / x_max * (width - left - 20):.1f},{12 + (y_max - y) / span * (height - bottom - 20):.1f}" for x, y in curve
        )
        colour = COLOURS[i % len(COLOURS)]
        line = f"stroke='{colour}' fill='none' stroke-width='1.5'{DASHES[i // len(COLOURS) % len(DASHES)]}"
        parts.append(f"<polyline points='{path}' {line}/><path d='M{width} {22 + 16 * i}h24' {line}/>")
        parts.append(
            f"<text x='{width + 30}' y='{26 + 16 * i}' font-family='sans-serif' font-size='12' fill='{colour}'>{escape(name)}</text>"
        )
    for value, y in ((y_max, 18), (y_min, height - bottom - 2)):
        parts.append(f"<text x='6' y='{y}' {_STYLE}>{value:.3g}</text>")
    parts.append(f"<text x='{width / 2:.0f}' y='{height - 12}' {_STYLE}>{escape(x_label)} (0 to {x_max:g})</text>")
    parts.append(f"<text x='6' y='{height / 2:.0f}' {_STYLE}>{escape(y_label)}</text>")
    return _page(width + 170, height, parts)


def _page(width: float, height: float, parts: list[str]) -> str:
    body = "\n".join(parts)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:.0f}' height='{height:.0f}' viewBox='0 0 {width:.0f} {height:.0f}'>\n"
        f"<rect width='100%' height='100%' fill='white'/>\n{body}\n</svg>\n"
    )
