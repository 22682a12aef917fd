"""Selectors on real text."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

from datasets import Dataset

from langadapt.registry.component import Context
from langadapt.registry.registry import Registry


def texts(data: Path, count: int) -> list[str]:
    with gzip.open(data / "raw" / "mr.txt.gz", "rt", encoding="utf-8") as handle:
        lines = [line.strip() for line in handle]
    return [line for line in dict.fromkeys(lines) if len(line.split()) > 12][:count]


def test_near_duplicates_go_and_distinct_texts_stay(data: Path, registry: Registry, ctx: Context) -> None:
    originals = texts(data, 300)
    changed = []
    for line in originals[:50]:
        words = line.split()
        words[-1] = "बदललेले"
        changed.append(" ".join(words))
    long_enough = [i for i, line in enumerate(originals[:50]) if len(line.split()) > 30]
    selector: Any = registry.build("selector", "near-duplicates")
    kept = selector.select(Dataset.from_dict({"text": originals + changed}), None, ctx)["text"]
    # The corpus has a few real near copies of its own (templates about neighbouring villages).
    assert len(set(originals[50:]) - set(kept)) <= 3
    survivors = set(kept) & {changed[i] for i in long_enough}
    assert len(survivors) <= 0.1 * len(long_enough)


def test_script_filter_on_mixed_lines(registry: Registry, ctx: Context) -> None:
    lines = ["मराठी मजकूर", "English text", "मराठी मजकूर with few", "१२३ !!", "日本語"]
    selector: Any = registry.build("selector", {"use": "script", "scripts": ["Deva"], "share": 0.5})
    assert selector.select(Dataset.from_dict({"text": lines}), None, ctx)["text"][:] == ["मराठी मजकूर", "मराठी मजकूर with few"]
