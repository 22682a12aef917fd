"""Scores of several encoders on several tasks, on disk and as a table."""

from __future__ import annotations

import dataclasses
import math
import zipfile
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from langadapt.artifacts import significance
from langadapt.errors import StoreError
from langadapt.files import read_json, write_json

SCORES, SAMPLES, DRAWINGS = "scores.json", "samples.npz", "drawings.json"

Scores = dict[str, list[dict[str, Any]]]
"""Encoder name → scores, each with the fields of :class:`langadapt.contracts.Score`, and with `seed`, the `data` that it was measured on
(a digest of the evaluator's identity) and, where an earlier encoder has the same score, its `difference` to the first one's: value, low and
high, `p` of a paired `test`, and `holm`, which is p corrected for all tasks of the table (of each task's first measure alone)."""

BULKY = ("resampled", "items", "drawing")
"""What a record holds in memory alone: it is saved beside the table."""


def records(scores: list[Any], made: str = "", data: str = "", seed: int | None = None) -> tuple[list[dict[str, Any]], list[str]]:
    """Scores as plain data, and a sentence for each figure that is no number, which is no score.

    Args:
        scores: of one evaluator on one encoder.
        made: how the test's texts came to be, where that is known: ``generated``, ``translated``.
        data: a digest of what was measured and how.
        seed: of the samples that intervals were drawn with.
    """
    found, problems = [], []
    for score in scores:
        if not math.isfinite(score.value):
            problems.append(f"{score.task}: {score.metric} is {score.value}, which is no score (are all values alike?)")
            continue
        row = {field.name: getattr(score, field.name) for field in dataclasses.fields(score)}
        for end in ("low", "high"):
            if row[end] is not None and not math.isfinite(row[end]):
                row[end] = None
        told = {"made": made, "data": data, "seed": seed}
        found.append({**row, **{key: value for key, value in told.items() if value not in ("", None)}})
    return found, problems


def placed(found: list[dict[str, Any]]) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Scores by task, metric and how many of that name came before: two tests of one name are told apart by their order."""
    seen: Counter[tuple[str, str]] = Counter()
    places = {}
    for score in found:
        name = (score["task"], score["metric"])
        places[(*name, seen[name])] = score
        seen[name] += 1
    return places


def add_differences(scores: Scores) -> None:
    """Give every score of a later encoder its difference to the first one's, with a paired 95 % interval and test."""
    first: dict[tuple[str, str, int], dict[str, Any]] = {}
    for i, found in enumerate(scores.values()):
        for place, score in placed(found).items():
            if i == 0:
                first[place] = score
            elif place in first and same_test(score, first[place]):
                score["difference"] = difference(score, first[place])
        correct(found)


def same_test(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two scores can be paired: the same data read the same way, and items drawn with the same seed."""
    return (one.get("data"), one.get("seed")) == (other.get("data"), other.get("seed"))


def difference(score: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """A score less another one of the same test, with a paired 95 % interval and the p of a paired test where both can be paired."""
    ours, theirs = score.get("resampled"), base.get("resampled")
    low = high = None
    if ours is not None and theirs is not None and len(ours) == len(theirs):
        ends = [float(end) for end in np.nanpercentile(np.asarray(ours) - np.asarray(theirs), [2.5, 97.5])]
        low, high = ends if all(map(math.isfinite, ends)) else (None, None)
    told: dict[str, Any] = {"value": score["value"] - base["value"], "low": low, "high": high}
    if tested := significance.paired(score, base):
        told["p"], told["test"] = tested
    return told


def correct(found: list[dict[str, Any]]) -> None:
    """Add Holm's correction to the differences of one encoder: across tasks, of each task's first measure."""
    main: dict[str, dict[str, Any]] = {}
    for score in found:
        main.setdefault(score["task"], score.get("difference") or {})
    tested = [told for told in main.values() if "p" in told]
    for told, p in zip(tested, significance.holm([told["p"] for told in tested]), strict=True):
        told["holm"] = p


def add_groups(scores: Scores) -> None:
    """Where three or more systems took one test: letters, shared by those that Holm's correction of all its pairs leaves alike."""
    if len(scores) < 3:
        return
    by_test: dict[Any, dict[str, dict[str, Any]]] = {}
    for name, found in scores.items():
        for place, score in placed(found).items():
            by_test.setdefault((place, score.get("data"), score.get("seed")), {})[name] = score
    for systems in by_test.values():
        names = sorted(systems, key=lambda name: systems[name]["value"], reverse=next(iter(systems.values()))["higher_is_better"])
        pairs = {pair: significance.paired(*(systems[name] for name in pair)) for pair in combinations(names, 2)}
        if len(names) < 3 or not all(pairs.values()):
            continue
        corrected = significance.holm([tested[0] for tested in pairs.values() if tested])
        differ = {pair: p < significance.LEVEL for pair, p in zip(pairs, corrected, strict=True)}
        for name, letters in significance.groups(names, differ).items():
            systems[name]["group"] = letters


def losses(scores: Scores, name: str) -> list[dict[str, Any]]:
    """Scores of an encoder that lie below the first encoder's, beyond the paired interval."""
    return [score for score in scores.get(name, []) if _is_worse(score)]


def _is_worse(score: dict[str, Any]) -> bool:
    difference = score.get("difference")
    if not difference or difference["low"] is None:
        return False
    return bool(difference["high"] < 0 if score.get("higher_is_better", True) else difference["low"] > 0)


def save(scores: Scores, folder: Path) -> None:
    """Write the table, and beside it what intervals, tests and pictures come from; encoders keep their order."""
    bulk = {
        f"{i}/{j}/{kind}": np.asarray(score[kind], np.float64)
        for i, found in enumerate(scores.values())
        for j, score in enumerate(found)
        for kind in ("resampled", "items")
        if score.get(kind) is not None
    }
    drawings = {name: {j: score["drawing"] for j, score in enumerate(found) if score.get("drawing")} for name, found in scores.items()}
    write_json(folder / SCORES, plain(scores))
    if bulk:
        np.savez(folder / SAMPLES, allow_pickle=False, **bulk)  # type: ignore[arg-type]
    if any(drawings.values()):
        write_json(folder / DRAWINGS, drawings)


def plain(scores: Scores) -> Scores:
    """The table alone, without what it came from."""
    return {name: [{key: value for key, value in score.items() if key not in BULKY} for score in found] for name, found in scores.items()}


def load(folder: Path) -> Scores:
    """Read a saved table."""
    found: Scores = read_json(folder / SCORES)
    return found


def load_all(folder: Path) -> Scores:
    """Read a saved table with its samples, items and drawings, as far as they lie beside it.

    Raises:
        StoreError: the samples are damaged.
    """
    found = load(folder)
    rows = list(found.values())
    try:
        if (folder / SAMPLES).is_file():
            with np.load(folder / SAMPLES, allow_pickle=False) as bulk:
                for key in bulk.files:
                    i, j, kind = key.split("/")
                    rows[int(i)][int(j)][kind] = bulk[key]
    except (OSError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
        raise StoreError("holds no samples of these scores", where=str(folder / SAMPLES), hint="Build or evaluate once more.") from error
    if (folder / DRAWINGS).is_file():
        for name, drawings in read_json(folder / DRAWINGS).items():
            for j, drawing in drawings.items():
                found[name][int(j)]["drawing"] = drawing
    return found


def cell(score: dict[str, Any]) -> str:
    """``78.9 [77.1, 80.6] a``: value, 95 % interval, and the letters of its group where there are several systems."""
    if score["low"] is None:
        return f"{score['value']:.3g}" if abs(score["value"]) < 10 else f"{score['value']:.1f}"
    places = 3 if score.get("unit") == "0 to 1" else 1
    group = f" {score['group']}" if score.get("group") else ""
    return f"{score['value']:.{places}f} [{score['low']:.{places}f}, {score['high']:.{places}f}]{group}"


def signed(score: dict[str, Any]) -> str:
    """``+2.1 [0.4, 3.8]``: the difference to the first encoder with its paired interval; empty where there is none.

    A star says that Holm's correction over all tasks leaves p below 0.05.
    """
    difference = score.get("difference")
    if not difference:
        return ""
    places = 3 if score.get("unit") == "0 to 1" else 1
    shown = f"{difference['value']:+.{places}f}"
    sure = "*" if difference.get("holm", 1.0) < significance.LEVEL else ""
    return shown if difference["low"] is None else f"{shown} [{difference['low']:+.{places}f}, {difference['high']:+.{places}f}]{sure}"


def grid(scores: Scores) -> tuple[list[str], list[list[str]]]:
    """Header and rows: one row a task and metric, one column an encoder, and the last one's difference to the first."""
    names = list(scores)
    paired = any("difference" in score for score in scores[names[-1]]) if len(names) > 1 else False
    header = ["task", "metric", "n", *(short(name, names) for name in names), *(["last − first"] if paired else [])]
    tests = {name: {(place, score.get("data")): score for place, score in placed(found).items()} for name, found in scores.items()}
    rows = []
    for key in dict.fromkeys(key for found in tests.values() for key in found):  # tests of one name and other data have rows of their own
        matches = [found.get(key) for found in tests.values()]
        shown = [match for match in matches if match]
        task, metric, made = shown[0]["task"], shown[0]["metric"], shown[-1].get("made", "")
        last = signed(matches[-1]) if matches[-1] else ""
        cells = [cell(match) if match else "–" for match in matches]
        rows.append([f"{task} ({made})" if made else task, metric, f"{shown[-1]['n']:,}", *cells, *([last] if paired else [])])
    return header, rows


def short(name: str, names: list[str]) -> str:
    """A folder by as many of its last parts as tell it from the others; any other name as it is."""
    parts = Path(name).parts
    for count in range(1, len(parts) + 1):
        found = "/".join(parts[-count:])
        if all(other == name or "/".join(Path(other).parts[-count:]) != found for other in names):
            return found
    return name


def table(scores: Scores) -> list[str]:
    """The grid as aligned lines of text."""
    header, rows = grid(scores)
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in [header, *rows]]


def markdown(scores: Scores) -> list[str]:
    """The grid as a Markdown table."""
    header, rows = grid(scores)
    return [
        "| " + " | ".join(header) + " |",
        "|" + " --- |" * len(header),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
