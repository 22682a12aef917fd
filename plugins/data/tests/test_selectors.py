"""Selectors on real text."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from langadapt_data.selectors import NearDuplicates, Script

from langadapt.contracts.component import Context
from langadapt.errors import RegistryError


def texts(data: Path, count: int, words: int) -> list[str]:
    """Distinct real Marathi lines of at least so many words."""
    with gzip.open(data / "raw" / "mr.txt.gz", "rt", encoding="utf-8") as handle:
        long = (line.strip() for line in handle if len(line.split()) >= words)
        return list(itertools.islice(dict.fromkeys(long), count))


def select(kind: NearDuplicates | Script, rows: list[str], seed: int = 42) -> list[str]:
    found: list[str] = kind.select(Dataset.from_dict({"text": rows}), None, Context(seed=seed))["text"]
    return list(found)


def shingles(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + 3]) for i in range(len(words) - 2)}


def test_near_copies_go_and_the_first_stays(data: Path) -> None:
    originals = texts(data, 150, 60)
    assert len(originals) > 100
    rng = np.random.default_rng(0)
    copies = []
    for text in originals:
        words = text.split()
        words[int(rng.integers(len(words)))] = "बदललेला"
        copies.append(" ".join(words))
    assert not set(copies) & set(originals)
    kept = select(NearDuplicates(), originals + copies)
    # One word of sixty changes three of some sixty shingles: the true similarity is above 0.9.
    missed = [text for text in copies if text in kept]
    assert len(missed) <= 2
    assert select(NearDuplicates(), originals + originals) == select(NearDuplicates(), originals)


def test_real_distinct_texts_stay(data: Path) -> None:
    rows = texts(data, 1500, 8)
    kept = select(NearDuplicates(), rows)
    dropped = [text for text in rows if text not in set(kept)]
    # Whatever goes must repeat an earlier text by the exact measure too.
    for text in dropped:
        mine = shingles(text)
        assert max(len(mine & other) / len(mine | other) for other in map(shingles, kept)) > 0.55, text
    assert len(dropped) < 0.05 * len(rows)
    assert [text for text in rows if text in set(kept)] == kept


def test_short_texts_are_compared_by_characters() -> None:
    rows = ["तो घरी गेला", "ती शाळेत आली", "तो घरी गेला", "पाऊस पडला.", "", "क", "", "आज"]
    assert select(NearDuplicates(), rows) == ["तो घरी गेला", "ती शाळेत आली", "पाऊस पडला.", "", "क", "आज"]


def test_the_threshold_decides(data: Path) -> None:
    original = " ".join(texts(data, 1, 60)[0].split()[:60])
    words = original.split()
    words[10:20] = [f"शब्द{i}" for i in range(10)]  # 12 of 58 shingles change: similarity 46 / 70
    rows = [original, " ".join(words)]
    assert len(select(NearDuplicates(threshold=0.95), rows)) == 2
    assert len(select(NearDuplicates(threshold=0.45), rows)) == 1


def test_script_by_share_of_letters() -> None:
    rows = [
        "घर मोठे आहे",
        "The house is big",
        "घर is big",
        "माझे नवीन घर is big",
        "12345 ... !!",
        "",
        "किंमत ₹500 (2019) 😀",
        "дом घर",
    ]
    assert select(Script(scripts=["Deva"]), rows) == [rows[0], rows[3], rows[6]]
    assert select(Script(scripts=["Deva"], share=1.0), rows) == [rows[0], rows[6]]
    assert select(Script(scripts=["Deva", "Latn"], share=1.0), rows) == [rows[0], rows[1], rows[2], rows[3], rows[6]]
    assert select(Script(scripts=["Latn"]), rows) == [rows[1], rows[2]]


def test_script_on_real_text(data: Path) -> None:
    rows = texts(data, 500, 5)
    assert len(select(Script(scripts=["Deva"]), rows)) > 0.97 * len(rows)
    assert len(select(Script(scripts=["Beng"], share=0.1), rows)) == 0


def test_an_unknown_script_is_named() -> None:
    with pytest.raises(RegistryError, match="Devv"):
        select(Script(scripts=["Devv"]), ["घर"])
