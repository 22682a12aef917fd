"""Standards text and acronyms, by hand and on real specifications; the whole recipe on a small part of real data."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langadapt_telecom.standards import CLAUSE, refused

from langadapt.contracts.component import Context

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("The UE shall send a REGISTRATION REQUEST message to the AMF.", None),
        ("| Parameter | Value | Unit |", "table rows"),
        ("Table 5.2.1-1: Timers of 5GS mobility management", "table rows"),
        ("5.2.1 General .......................... 47", "lines of contents"),
        ("RRCSetup ::= SEQUENCE {", "lines of formal notation"),
        ('token = 1*( ALPHA / DIGIT / "-" )', "lines of formal notation"),
        ("", None),
    ],
)
def test_what_is_running_text(line: str, why: str | None) -> None:
    assert refused(line) == why


def test_clause_numbers_go() -> None:
    assert CLAUSE.sub("", "5.3.1.2a Initial registration") == "Initial registration"
    assert CLAUSE.sub("", "Annex B Timers") == "Timers"
    assert CLAUSE.sub("", "3 Definitions of terms") == "Definitions of terms"
    assert CLAUSE.sub("", "5G systems use 3 bearers") == "5G systems use 3 bearers"


def test_asn1_blocks(registry: Any, ctx: Context, tmp_path: Path) -> None:
    from langadapt.manifests.resource import PathSource, Resource, Sources
    from langadapt.planning.pinning import pin_paths

    path = tmp_path / "ts.txt"
    text = "The RRC setup procedure establishes the SRB1 of the UE.\n-- ASN1START\nRRCSetup-IEs SEQUENCE { a INTEGER }\n-- ASN1STOP\n"
    path.write_text(text + "6.2 The gNB replies with an RRCSetup message at once.\n")
    data = Resource(name="ts", format="text", sources=Sources(path=PathSource(paths=[str(path)])))
    data = data.model_copy(update={"pinned": pin_paths(data, (path,), "test")})
    found = [document.text for document in registry.build("corpus", {"use": "standards", "data": data}).documents(ctx)]
    assert found == ["The RRC setup procedure establishes the SRB1 of the UE.", "The gNB replies with an RRCSetup message at once."]


@pytest.mark.slow
def test_the_recipe_on_real_standards_and_questions(run: Run, tiny: Path, data: Path, tmp_path: Path) -> None:
    with gzip.open(data / "raw" / "en-telecom-3gpp.txt.gz", "rt", encoding="utf-8") as handle:
        (tmp_path / "ts.txt").write_text("".join(line for _, line in zip(range(700), handle, strict=False)), encoding="utf-8")
    with gzip.open(data / "teleqna-en-telecom" / "train.jsonl.gz", "rt", encoding="utf-8") as handle:
        (tmp_path / "qa.jsonl").write_text("".join(line for _, line in zip(range(200), handle, strict=False)), encoding="utf-8")
    small = [f"--set=stages.{name}.{option}" for name in ("mlm", "terms", "tuned") for option in ("epochs=null", "steps=2")]
    done = run(
        "build", "--lang", "en", "--domain", "telecom", "--recipe", "telecom-embeddings", "--base", tiny, "--out=out",
        f"--resource=corpus={tmp_path / 'ts.txt'}", f"--resource=pairs={tmp_path / 'qa.jsonl'}", *small,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "out" / "release" / "scores.json").read_text())
    assert list(scores) == ["base", "mlm", "terms", "tuned"]
    metrics = {one["metric"] for one in scores["tuned"]}
    assert {"mrr@10", "accuracy@1", "threshold", "auc", "mean cosine", "IsoScore"} <= metrics
    assert any("bm25" in one["task"] for one in scores["base"])
