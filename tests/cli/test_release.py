"""``langadapt release``: an adapter alone or merged, the vectors it had before, and one clear line where that cannot be."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from langadapt import Encoder
from langadapt.contracts.plan import Request
from langadapt.files import read_json
from langadapt.release.card import check_sums
from langadapt.running.build import build
from langadapt.running.runner import Outcome

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore::UserWarning")]

Run = Callable[..., "subprocess.CompletedProcess[str]"]

RECIPE = """recipe: short
summary: A few steps.
paper: arXiv:2106.09685
stages:
  base:    {do: load, source: $lang.encoder, max_length: 40}
  pairs:   {do: pair, source: {use: retrieval, data: $domain.pairs}}
  adapter: {do: train, encoder: base, data: pairs, objective: multiple-negatives, adaptation: lora, steps: 4, batch_size: 4,
            learning_rate: 5e-3, precision: fp32}
  scores:  {do: evaluate, encoders: [adapter], evaluators: [{use: retrieval, data: $domain.pairs}]}
  release: {do: export, encoder: adapter, scores: scores, exporters: [adapter]}
"""
WORDS = ("a handover", "the core network", "a bearer", "paging", "roaming", "the downlink")
TEXTS = ["What does paging do in 5G NR?", "The UE ﬁnds the gNB.", "", "roaming " * 90]


def built(tiny: Path, folder: Path, adaptation: str, normalizer: str = "") -> Outcome:
    """Train for a moment on a few sentences."""
    recipe = RECIPE.replace("adaptation: lora", f"adaptation: {adaptation}")
    if normalizer:
        recipe = recipe.replace("data: $domain.pairs}}\n  adapter", f"data: $domain.pairs}}, normalizer: {normalizer}}}\n  adapter")
    (folder / "short.yaml").write_text(recipe, encoding="utf-8")
    rows = "".join(f"What does {word} do in 5G NR?\tThe UE and the gNB signal {word} over the radio.\n" for word in WORDS)
    (folder / "pairs.tsv").write_text("query\tpassage\n" + rows, encoding="utf-8")
    asked = Request((str(folder / "short.yaml"),), "en", "telecom", base=str(tiny), resources={"pairs": (str(folder / "pairs.tsv"),)})
    return build(asked, store=folder / "store", out=folder / adaptation, quiet=True, device="cpu")


@pytest.fixture(scope="module")
def lora(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return built(tiny, tmp_path_factory.mktemp("lora"), "lora")


def artifact(outcome: Outcome, stage: str = "adapter") -> Path:
    return outcome.run_dir.parent / "store" / "objects" / outcome.plan.stage(stage).key


def released(outcome: Outcome) -> Path:
    assert outcome.release is not None
    return outcome.release


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command within this process, which has the libraries loaded."""
    from langadapt.cli.app import COMMANDS, main

    monkeypatch.setitem(COMMANDS, "release", "Release a trained adapter alone, or merged into its base.")

    def command(*arguments: object) -> subprocess.CompletedProcess[str]:
        given = ["langadapt", "release", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", given)
        monkeypatch.chdir(tmp_path)
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        shown = capsys.readouterr()
        return subprocess.CompletedProcess(given, code, shown.out, shown.err)

    return command


@pytest.fixture(scope="module")
def expected(tiny: Path, lora: Outcome) -> np.ndarray:
    return Encoder.load(artifact(lora), device="cpu").encode(TEXTS)


@pytest.mark.parametrize("source", ["artifact", "export"])
def test_alone(source: str, release: Run, lora: Outcome, tiny: Path, expected: np.ndarray, tmp_path: Path) -> None:
    folder = artifact(lora) if source == "artifact" else released(lora)
    done = release(folder, "--base", tiny, "-o", "out", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    out = tmp_path / "out"
    assert told["files"] == sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert told["merged"] is False
    assert told["bytes"] < 0.1 * (tiny / "model.safetensors").stat().st_size
    record, card = read_json(out / "adapter.json"), (out / "README.md").read_text(encoding="utf-8")
    assert told["base"] == {"digest": record["base"]["digest"], "origin": tiny.name}
    assert record["base"]["origin"] == tiny.name
    assert not record["base"]["artifact"]
    assert record["base"]["digest"] in card
    assert ("arXiv:2106.09685" in card) == (source == "export"), "the store knows no papers"
    assert "multiple-negatives" in card
    assert not list(check_sums(out))
    assert not [path.name for path in out.iterdir() if str(tiny.parent).encode() in path.read_bytes()], "no path of this machine"
    encoder = Encoder.load(tiny, device="cpu")
    encoder.add_adapter("mine", out)
    assert np.abs(encoder.encode(TEXTS, adapter="mine") - expected).max() <= 1e-5
    again = release(out, "-o", "again")
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("again: the adapter alone, ")
    assert read_json(tmp_path / "again" / "adapter.json") == record


@pytest.mark.parametrize("source", ["artifact", "export"])
def test_merged(source: str, release: Run, lora: Outcome, tiny: Path, expected: np.ndarray, tmp_path: Path) -> None:
    """sentence-transformers loads it, and no adapter is left in it."""
    from sentence_transformers import SentenceTransformer

    given = [artifact(lora)] if source == "artifact" else [released(lora), "--base", tiny]
    done = release(*given, "--merge", "-o", "whole")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("whole: the base with the adapter merged into it, ")
    out = tmp_path / "whole"
    assert not list(out.glob("adapter*"))
    assert not list(check_sums(out))
    assert np.abs(SentenceTransformer(str(out), device="cpu").encode(TEXTS) - expected).max() <= 1e-5
    assert np.abs(Encoder.load(out, device="cpu").encode(TEXTS) - expected).max() <= 1e-5
    provenance = read_json(out / "provenance.json")
    assert provenance["merged"]["adaptation"]["use"] == "lora"
    assert (out / "scores.json").is_file() == (source == "export")
    assert "up to 40 tokens" in (out / "README.md").read_text(encoding="utf-8")


def test_the_normalizer_of_the_training_texts_goes_with_it(release: Run, tiny: Path, tmp_path: Path) -> None:
    """The store knows it of the stage that made the pairs."""
    (tmp_path / "built").mkdir()
    outcome = built(tiny, tmp_path / "built", "lora", "twitter")
    noisy, plain = ["@someone see https://t.co/abc about paging"], Encoder.load(artifact(outcome), device="cpu")
    for merge in ([], ["--merge"]):
        out = tmp_path / ("whole" if merge else "alone")
        done = release(artifact(outcome), *merge, "-o", out)
        assert done.returncode == 0, done.stderr
        assert read_json(out / "encoder.json")["normalizer"]["use"] == "twitter"
        encoder = Encoder.load(out if merge else tiny, device="cpu")
        if not merge:
            encoder.add_adapter("mine", out)
        found = encoder.encode(noisy, adapter=None if merge else "mine")
        from langadapt_twitter.normalizer import Twitter

        assert np.abs(found - plain.encode([Twitter().normalize(noisy[0])])).max() <= 1e-5
        assert np.abs(found - plain.encode(noisy)).max() > 1e-3


def refused(done: subprocess.CompletedProcess[str], folder: Path, *parts: str) -> None:
    """Exit code 2, the reason, and nothing written."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in done.stderr, f"{part!r} not in: {done.stderr}"
    assert not [path.name for path in folder.iterdir() if path.name.startswith((".", "out"))]


def test_what_cannot_be_released(release: Run, lora: Outcome, tiny: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    good = released(lora)
    refused(release(tmp_path / "absent", "-o", "out"), tmp_path, "there is no adapter.json")
    refused(release(tiny, "-o", "out"), tmp_path, "there is no adapter.json", "Give the folder of a trained adapter")
    refused(release(good, "--merge", "-o", "out"), tmp_path, "merging needs the base, which is not beside the adapter", "--base")
    refused(release(good, "--base", "./absent", "-o", "out"), tmp_path, "./absent: there is no such folder")
    refused(release(good, "-o", "no/where/out"), tmp_path, "there is no such folder to write to")
    other = Path(shutil.copytree(tiny, tmp_path / "other"))
    tensors = load_file(other / "model.safetensors")
    tensors["encoder.layer.1.output.dense.weight"][3, 5] += 1e-6
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    for merge in ([], ["--merge"]):
        refused(release(good, "--base", other, *merge, "-o", "out"), tmp_path, f"{other}: the adapter is for another base ({tiny.name}")
    (tmp_path / "taken").mkdir()
    refused(release(good, "-o", "taken"), tmp_path, "taken: is there already", "Choose another folder")


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json", "centroid.safetensors", "encoder.json"])
def test_a_damaged_adapter(name: str, release: Run, lora: Outcome, tiny: Path, tmp_path: Path) -> None:
    """In the store and out of it."""
    for number, source in enumerate((artifact(lora), released(lora))):
        folder = Path(shutil.copytree(source, tmp_path / f"{number}" / source.name))
        (folder / name).write_bytes((folder / name).read_bytes()[:-7])
        refused(release(folder, "--base", tiny, "-o", "out"), tmp_path, f"{folder / name}: ")
        (folder / name).unlink()
        refused(release(folder, "--base", tiny, "-o", "out"), tmp_path, str(folder))


def test_a_failure_in_the_middle_leaves_nothing(
    release: Run, lora: Outcome, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from langadapt.release import card as releases

    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(releases, "write_sums", full)
    for merge in ([], ["--merge"]):
        refused(release(released(lora), "--base", tiny, *merge, "-o", "out"), tmp_path, "out cannot be written", "No space left")


def test_a_quantised_base_is_not_merged_into(release: Run, lora: Outcome, tiny: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    from langadapt.modeling.loading import load_model, quantization_options

    small = Path(shutil.copytree(tiny, tmp_path / "small"))
    load_model(tiny, False, quantization_options("8bit", "cpu")).save_pretrained(small)
    done = release(released(lora), "--base", small, "--merge", "-o", "out")
    refused(done, tmp_path, "the base is quantised, and merging into quantised weights rounds away what the adapter learnt")
    assert "Give the unquantised base with --base" in done.stderr


@pytest.mark.adapters
@pytest.mark.parametrize(
    ("adaptation", "parts"),
    [
        ("bottleneck", ["'bottleneck' has no merged form", "leave --merge out"]),
        ("semi-siamese", ["there is a module for each of query, document, so there is no one merged encoder"]),
    ],
)
def test_what_has_no_merged_form(adaptation: str, parts: list[str], release: Run, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "built").mkdir()
    outcome = built(tiny, tmp_path / "built", adaptation)
    refused(release(artifact(outcome), "--merge", "-o", "out"), tmp_path, *parts)
    done = release(artifact(outcome), "-o", "alone")
    assert done.returncode == 0, done.stderr
    encoder: Any = Encoder.load(tiny, device="cpu")
    folder = tmp_path / "alone"
    encoder.add_adapter("mine", folder / "query" if adaptation == "semi-siamese" else folder)
    assert np.abs(encoder.encode(TEXTS, adapter="mine") - Encoder.load(artifact(outcome), device="cpu").encode(TEXTS)).max() <= 1e-5
