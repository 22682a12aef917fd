"""What a release holds, and that other libraries load it without langadapt."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from langadapt import Encoder

TEXTS = ["गव्हाची किंमत वाढली.", "गहू महाग झाला.", "मुले मैदानात खेळत आहेत.", "", "दर्‍या आणि सुर्‍या | कऱ्हाड", "OK 123"]

# The other process must not see langadapt: None in sys.modules makes its import fail.
PLAIN = """
import sys
sys.modules["langadapt"] = None
import numpy as np
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer
AutoModel.from_pretrained(sys.argv[1]), AutoTokenizer.from_pretrained(sys.argv[1])
np.save(sys.argv[2], SentenceTransformer(sys.argv[1], device="cpu").encode({texts!r}))
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def built(run: Run, tiny: Path, pairs: dict[str, Path], tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A release of the shipped recipe on a two-layer base, and what the build said."""
    resources = [f"--resource=nli={pairs['nli']}", f"--resource=sts={pairs['sts']}", f"--resource=sts-test={pairs['sts']}"]
    options = ["--set=stages.sbert-sts.epochs=1", "--base", tiny, "--out=run", "--json"]
    done = run("build", "--lang", "mr", "--recipe", "sbert-nli-sts", *resources, *options)
    assert done.returncode == 0, done.stderr
    return tmp_path / "run" / "release", json.loads(done.stdout)


def test_sentence_transformers_gives_the_same_vectors_without_langadapt(built: tuple[Path, Any], tmp_path: Path) -> None:
    release, _ = built
    vectors = tmp_path / "vectors.npy"
    script = PLAIN.format(texts=TEXTS)
    done = subprocess.run([sys.executable, "-c", script, str(release), str(vectors)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Mistral" not in done.stderr
    ours = Encoder.load(release, device="cpu").encode(TEXTS)
    assert np.abs(ours - np.load(vectors)).max() < 1e-5


def test_the_full_build_takes_what_was_given(built: tuple[Path, Any], tiny: Path) -> None:
    from langadapt.release.card import full_build

    facts = json.loads((built[0] / "provenance.json").read_text())
    files = "--resource nli=pairs/nli.tsv --resource sts=pairs/sts.tsv --resource sts-test=pairs/sts.tsv"
    base = f"--base {tiny.parent.name}/{tiny.name}"
    assert full_build(facts) == f"langadapt build --lang mr --recipe sbert-nli-sts --sources hub {base} {files}"


def test_the_tokenizer_carries_the_normalizer(built: tuple[Path, Any]) -> None:
    release, _ = built
    encoder = Encoder.load(release, device="cpu")
    assert encoder.settings.normalizer is not None
    assert encoder.settings.normalizer_in_tokenizer
    # Two encodings of the eyelash ra, one text.
    one, other = encoder.encode(["दर्‍या", "दऱ्या"])
    assert np.array_equal(one, other)


def test_card_states_base_data_licences_scores_and_limits(built: tuple[Path, Any]) -> None:
    release, said = built
    card = (release / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---")[1])
    assert head["language"] == ["mr"]
    assert head["license"] == "other"
    assert head["model-index"][0]["results"][0]["metrics"][0]["type"] == "spearman_cosine"
    for part in (
        "How to use",
        "Scores",
        "How it was made",
        "licences",
        "Limits",
        "states no licence",
        "arXiv:2211.11187",
        "`indic` (version 1)",
    ):
        assert part in card, part
    scores = json.loads((release / "scores.json").read_text(encoding="utf-8"))
    assert list(scores) == ["base", "sbert-nli", "sbert-sts"]
    for name, found in scores.items():
        assert name in card
        assert all(score["low"] <= score["value"] <= score["high"] for score in found)
    facts = json.loads((release / "provenance.json").read_text(encoding="utf-8"))
    assert facts["encoder_stage"] == "sbert-sts"
    assert {stage["key"] for stage in facts["stages"]} <= set(said["keys"].values())
    assert str(release.parent.parent) not in (release / "provenance.json").read_text() + card


def test_picture_is_drawn(built: tuple[Path, Any]) -> None:
    release, _ = built
    picture = (release / "scores.svg").read_text(encoding="utf-8")
    assert picture.startswith("<svg")
    assert "sbert-sts" in picture
    assert (release.parent / "losses.svg").read_text(encoding="utf-8").count("<polyline") == 2


def test_starter_release_says_that_it_is_one(run: Run, tiny: Path, tmp_path: Path) -> None:
    done = run(
        *("build", "--lang", "mr", "--recipe", "sbert-nli-sts", "--base", tiny, "--out=run"),
        *(
            "--set=stages.sbert-sts.steps=2",
            "--set=stages.sbert-sts.epochs=",
            "--set=stages.sbert-nli.steps=2",
            "--set=stages.sbert-nli.epochs=",
        ),
    )
    assert done.returncode == 0, done.stderr
    assert "starter release" in done.stdout
    assert "--sources hub" in done.stdout
    assert "starter release, for trying things out" in (tmp_path / "run" / "release" / "README.md").read_text(encoding="utf-8")


def test_measures_between_zero_and_one_keep_their_digits() -> None:
    from langadapt.artifacts.scores import cell

    assert cell({"value": 0.0213, "low": 0.019, "high": 0.0247, "unit": "0 to 1"}) == "0.021 [0.019, 0.025]"
    assert cell({"value": 0.04, "low": 0.0, "high": 0.1, "unit": "×100"}) == "0.0 [0.0, 0.1]"
