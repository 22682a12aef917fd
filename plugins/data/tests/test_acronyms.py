"""Acronyms by hand, and harvested from real specifications."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from langadapt_data.acronyms import acronyms, expansion


@pytest.mark.parametrize(
    ("before", "short", "long"),
    [
        ("the network assigns an Access Point Name ", "APN", "Access Point Name"),
        ("uses Non-Access Stratum ", "NAS", "Non-Access Stratum"),
        ("supported by the user equipment ", "UE", "user equipment"),
        ("a test of Heat Shock Protein ", "HSP", "Heat Shock Protein"),
        ("chronic obstructive pulmonary disease ", "COPD", "chronic obstructive pulmonary disease"),
        ("as described in clause five ", "AMF", None),
        ("see below ", "a", None),
    ],
)
def test_expansions(before: str, short: str, long: str | None) -> None:
    assert expansion(short, before) == long


def test_real_specifications(data: Path) -> None:
    with gzip.open(data / "raw" / "en-telecom-3gpp.txt.gz", "rt", encoding="utf-8") as handle:
        found = acronyms(line.rstrip("\n") for line in handle)
    assert len(found) > 500
    first = {short: counts.most_common(1)[0][0].casefold() for short, counts in found.items()}
    assert first["MAC"] == "medium access control"
    assert first["NDS"] == "network domain security"


def test_a_padded_line_takes_no_time() -> None:
    assert not acronyms(["ABCDEFGHI" + " " * 100_000 + "x"])
    assert list(acronyms(["PDN      Packet Data Network"])) == ["PDN"]
