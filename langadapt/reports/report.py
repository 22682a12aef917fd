"""The page of one run: what was planned, what happened, what it scored, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langadapt.reports.flow import flow
from langadapt.reports.shell import chart, facts, listed, page, table

REPORT, FACTS = "report.html", "report.json"

Facts = Mapping[str, Any]


def report_page(found: Facts) -> str:
    """The page as HTML, complete in one file.

    Args:
        found: what :mod:`langadapt.running.reporting` gathers.
    """
    sections = [
        ("Summary", _summary(found)),
        ("Scores", score_tables(found)),
        ("Without a score", listed(found.get("problems", []))),
        ("Test rows seen in training", _seen(found)),
        ("Closer looks", closer_looks(found)),
        ("Texts as the encoders place them", examples(found)),
        ("Training", _training(found)),
        ("Data", _data(found)),
        ("Plan", _plan(found)),
        ("Licences", _licences(found)),
        ("Versions", table(["package", "version"], sorted(found["versions"].items()), "Versions that made this run", numbers=False)),
    ]
    drawn = {key: found[key] for key in ("scores", "drawings", "examples", "training", "data", "stages")}
    return page(f"{found['title']}: report", sections, drawn)


def _summary(found: Facts) -> str:
    seconds = sum(stage.get("seconds", 0.0) for stage in found["stages"])
    size = f"{found['release_bytes'] / 1e6:.1f} MB" if found["release_bytes"] else ""
    return facts(
        [
            ("Language", found["language"]),
            ("Domain", found["domain"] or ""),
            ("Recipes", ", ".join(found["recipes"])),
            ("Released", found["released"] or ""),
            ("Size of the release", size),
            ("Work seen by this run folder", f"{seconds:,.1f} s"),
            ("Seed", str(found["seed"])),
            ("Made", f"{found['made']}, {found['machine']}"),
        ]
    )


def score_tables(found: Facts) -> str:
    """A table and a chart for each stage that evaluated."""
    parts = []
    for name, grid in found["grids"].items():
        caption = f"{name}: value with its 95 % interval"
        parts.append(table(grid["header"], grid["rows"], caption))
        parts.append(chart("scores", f"{name}: scores of each encoder with 95 % intervals", stage=name))
    if parts:
        parts.append(
            '<p class="note">Intervals are bootstrapped over the items of the test. The difference to the first encoder is paired; a star '
            "says that a paired test, corrected over all tasks (Holm), leaves p below 0.05. Letters stand where three or more encoders "
            "took one test: those that share one do not differ.</p>"
        )
    return "".join(parts)


def _seen(found: Facts) -> str:
    rows = [
        [encoder, told["task"], f"{told['rows']:,}", f"{told['exact']:,}", f"{told['near']:,}", told["where"]]
        for tables in found.get("seen", {}).values()
        for encoder, tests in tables.items()
        for told in tests
    ]
    if not rows:
        return ""
    header = ["encoder", "test", "rows", "the same", "nearly the same", "in"]
    return table(header, rows, "Rows of the tests that stand in what an encoder was trained on here")


def closer_looks(found: Facts) -> str:
    """What single scores come from: pairs, and which class was taken for which."""
    parts = []
    for stage, encoders in found["drawings"].items():
        for encoder, drawings in encoders.items():
            for i, one in enumerate(drawings):
                kind = next(iter(one["drawing"]))
                about = f"{encoder.rpartition('/')[2] or encoder}, {one['task']}: {one['metric']} {one['value']:.1f}, n = {one['n']:,}"
                parts.append(chart(kind, about, stage=stage, encoder=encoder, index=i))
    return f'<div class="side">{"".join(parts)}</div>' if parts else ""


def examples(found: Facts) -> str:
    """Some texts of the test as the first encoder and the released one place them."""
    parts = []
    for stage, told in found["examples"].items():
        names = list(told["encoders"])
        count = len(told["encoders"][names[0]]["cosines"])
        last = found["released"] if found["released"] in names else names[-1]
        figures = []
        for name in dict.fromkeys([names[0], last]):
            about = f"{name}: {len(told['texts'])} texts of the test on the two widest axes of their vectors"
            figures.append(chart("map", about, stage=stage, encoder=name))
            figures.append(chart("cosines", f"{name}: cosines of the first {count} of them", stage=stage, encoder=name))
        shown = [[str(i + 1), text] for i, text in enumerate(told["texts"][:count])]
        rows = [[name, f"{one['tokens_a_word']:.2f}"] for name, one in told["encoders"].items()]
        parts += [
            f'<div class="side">{"".join(figures)}</div>',
            table(["number", "text"], shown, f"{stage}: the texts whose cosines are shown", numbers=False),
            table(["encoder", "tokens a word"], rows, f"{stage}: how many tokens the vocabularies spend on a word of these texts"),
        ]
    return "".join(parts)


def _training(found: Facts) -> str:
    rows = []
    for name, told in found["training"].items():
        ends = [f"{loss:.3f}" if told["losses"] and (loss := told["losses"][end][1]) is not None else "–" for end in (0, -1)]
        rows.append([name, f"{told['steps']:,}", *ends])
    if not rows:
        return ""
    numbers = table(["stage", "steps", "first loss", "last loss"], rows, "Losses of the stages that trained")
    return chart("losses", "Loss by step of every stage that trained; dots are held-out figures") + numbers


def _data(found: Facts) -> str:
    rows = []
    for told in found["data"]:
        dropped = ", ".join(f"{name} {count:,}" for name, count in told["dropped"].items())
        rows.append([told["stage"], f"{told['read']:,}", dropped or "–", f"{told['kept']:,}"])
    if not rows:
        return ""
    funnel = chart("funnel", "Rows that were kept, and rows that each check dropped")
    return funnel + table(["stage", "read", "dropped", "kept"], rows, "Rows read, dropped and kept")


def _plan(found: Facts) -> str:
    rows = [
        [
            stage["name"],
            stage["do"],
            ", ".join(stage["uses"].values()),
            "from the store" if stage["from_store"] else f"{stage['seconds']:,.1f} s" if "seconds" in stage else "–",
            f"{stage['peak_mb']:,.0f} MB" if "peak_mb" in stage else "–",
            f"{stage['joules'] / 3600:,.2f} Wh" if "joules" in stage else "not counted here",
        ]
        for stage in found["stages"]
    ]
    header = ["stage", "verb", "components", "time", "most memory", "energy"]
    return flow(found["stages"]) + table(header, rows, "What each stage did and cost", numbers=False)


def _licences(found: Facts) -> str:
    rows = [[one["name"], one["from"], one["origin"], one["licence"]] for one in found["resources"]]
    return table(["resource", "from", "origin", "licence"], rows, "What was read, and under which licence", numbers=False) if rows else ""
