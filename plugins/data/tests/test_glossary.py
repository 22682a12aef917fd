"""Definitions by hand, and harvested from real specifications."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from langadapt_data.glossary import definitions

from langadapt.contracts.component import Context
from langadapt.errors import DataError
from langadapt.manifests.resource import PathSource, Resource, Sources
from langadapt.planning.pinning import pin_paths


@pytest.mark.parametrize(
    ("line", "term"),
    [
        ("Network Slice: A logical network that provides specific capabilities.", "Network Slice"),
        ("Closed Access Group (CAG): a group of subscribers who may use one or more cells.", "Closed Access Group (CAG)"),
        ("Backhaul refers to the links between the core network and the edge.", "Backhaul"),
        ("नेटवर्क स्लाइस: विशिष्ट क्षमता देणारे तार्किक नेटवर्क होय.", "नेटवर्क स्लाइस"),
        ("A Conditional Handover (CHO) is defined as one that a phone executes.", "Conditional Handover (CHO)"),
        ("Link adaptation (AMC: adaptive modulation and coding)", None),
        ("UE: a device that gives its user access to network services.", "UE"),
        ("切片： 提供特定网络能力和网络特性的逻辑网络，由一组网络功能实例及其所需资源组成。", "切片"),
        ("他昨天说我们今天去北京参加会议然后回家: 但是我们没有去成因为下了一整天的大雨。", None),
        ("जेव्हा आपण आपल्या स्वत:च्या ज्ञात प्रमाणात विचार करतो तेव्हा", None),
        ("आपण स्वत: विचार करतो तेव्हा सारे काही सोपे वाटते", None),
        ("यह सच है। उसने कहा: हम कल सुबह बाज़ार जाएँगे और सब्ज़ी लाएँगे", None),
        ("This refers to the links between the core network and the edge.", None),
        ("Table 13-4A: Set of resource blocks and slot symbols of a set", None),
        ("The following parameters: independentDelayMax and independentDelayMin", None),
        ("NOTE 2: The UE need not do so when it is switched off", None),
        ("A sentence of more than six words here: and what it says of them", None),
        ("Term: too short", None),
    ],
)
def test_lines(line: str, term: str | None) -> None:
    assert list(definitions([line])) == ([term] if term else [])


def test_labels_are_no_terms(registry: Any, ctx: Context, tmp_path: Path) -> None:
    lines = [
        "Description: The consumer deletes parameters from the repository.",
        "Description: The consumer asks for the state of a group of phones.",
        "Serving cell: the cell that a phone in connected mode is attached to.",
        "Serving cell: the cell that a phone in connected mode is attached to.",
        "The phone has an International Mobile Subscriber Identity (IMSI) of its own.",
    ]
    rows = list(registry.build("pairs", {"use": "glossary", "data": text(tmp_path, lines)}).pairs(None, ctx))
    assert rows == [
        {"anchor": "IMSI", "positive": "International Mobile Subscriber Identity"},
        {"anchor": "Serving cell", "positive": "the cell that a phone in connected mode is attached to."},
    ]
    with pytest.raises(DataError, match="1 acronyms found"):
        list(registry.build("pairs", {"use": "glossary", "data": text(tmp_path, lines), "of": ["acronyms"]}).pairs(None, ctx))


def test_real_specifications(data: Path) -> None:
    with gzip.open(data / "raw" / "en-telecom-3gpp.txt.gz", "rt", encoding="utf-8") as handle:
        found = definitions(line.rstrip("\n") for line in handle)
    clear = {term: next(iter(meanings)) for term, meanings in found.items() if len(meanings) == 1}
    assert len(clear) > 250
    assert clear["Network Slice"].startswith("A logical network")
    assert len(found.get("Description", Counter())) != 1


def text(folder: Path, lines: list[str]) -> Resource:
    path = folder / "ts.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    data = Resource(name="ts", format="text", sources=Sources(path=PathSource(paths=[str(path)])))
    return data.model_copy(update={"pinned": pin_paths(data, (path,), "test")})
