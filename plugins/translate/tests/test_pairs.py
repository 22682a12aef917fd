"""Translated pairs: provenance, memory, resuming, filters, licences; through the real command too."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langadapt_translate.filters import CopiedSource, LabelChecks, LanguageId, LengthRatio, UnknownWords
from langadapt_translate.memory import Memory
from langadapt_translate.pairs import TranslatedNli
from langadapt_translate.quality import BertScore, CrossLingual, RoundTrip

from langadapt.artifacts.dataset import from_rows
from langadapt.contracts.component import Context
from langadapt.contracts.data import Offer, Translation
from langadapt.errors import DataError, StoreError
from langadapt.inference.encoder import Encoder
from langadapt.planning.pinning import Pinner
from langadapt.registry.registry import Registry

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def rows(*items: tuple[str, str, str, str, str]) -> Any:
    """(premise, hypothesis, their sources, label) as a translated data set."""
    names = ("premise", "hypothesis", "source_premise", "source_hypothesis", "label")
    return from_rows([{**dict(zip(names, item, strict=True)), "unknown": None} for item in items])


GOOD = ("Un home toca a guitarra.", "Alguén toca música.", "A man plays the guitar.", "Someone plays music.", "entailment")


def kept(selector: Any, data: Any, ctx: Context, encoder: Any = None) -> list[str]:
    return list(selector.select(data, encoder, ctx)["premise"])


@pytest.mark.parametrize(
    "bad",
    [
        ("", "Alguén toca.", "A man plays.", "Someone plays.", "neutral"),
        ("Un can corre.", "Un can corre", "A dog runs.", "A hound races.", "contradiction"),
        ("Vigo 1234 Lugo", "Ourense 99 Tui", "Ourense 99 Tui", "Vigo 1234 Lugo", "neutral"),
    ],
)
def test_labels_that_cannot_have_survived(bad: tuple[str, ...], ctx: Context) -> None:
    assert kept(LabelChecks(), rows(GOOD, bad), ctx) == [GOOD[0]]


def test_one_pair_with_two_labels_goes_whole(ctx: Context) -> None:
    other = (*GOOD[:4], "contradiction")
    third = ("O can dorme.", "O gato dorme.", "The dog sleeps.", "The cat sleeps.", "contradiction")
    assert kept(LabelChecks(), rows(GOOD, other, third), ctx) == ["O can dorme."]
    same = ("Un can corre.", "Un can corre.", "A dog runs.", "A hound runs.", "entailment")
    assert kept(LabelChecks(), rows(same), ctx) == ["Un can corre."]


def test_lengths_scripts_and_copies(ctx: Context) -> None:
    short = ("Un.", "Alguén toca música.", "A man plays the guitar in the middle of the night.", "Someone plays music.", "entailment")
    assert kept(LengthRatio(), rows(*[GOOD] * 5, short), ctx) == [GOOD[0]] * 5
    english = ("A man plays the guitar in the street.", *GOOD[1:])
    assert kept(LanguageId(target="gl"), rows(GOOD, english), ctx) == [GOOD[0]]
    assert kept(LanguageId(target="mr"), rows(GOOD, ("एक माणूस गिटार वाजवतो.", "कोणीतरी वाजवतो.", *GOOD[2:])), ctx) == [
        "एक माणूस गिटार वाजवतो."
    ]
    copied = ("A man plays the gitara.", *GOOD[1:])
    assert kept(CopiedSource(), rows(GOOD, copied), ctx) == [GOOD[0]]
    marked = from_rows([{**rows(GOOD)[0], "unknown": 0}, {**rows(GOOD)[0], "premise": "Zxq vvv kkk.", "unknown": 3}])
    assert kept(UnknownWords(), marked, ctx) == [GOOD[0]]


def test_selectors_of_other_rows_say_so(ctx: Context) -> None:
    with pytest.raises(DataError, match="looks at translations"):
        LengthRatio().select(from_rows([{"premise": "a", "hypothesis": "b"}]), None, ctx)


def test_vectors_and_token_states_tell_a_wrong_translation(e5: Path, registry: Registry, ctx: Context) -> None:
    encoder = Encoder.load(e5, registry=registry, device="cpu")
    wrong = ("Mañá choverá en toda a costa.", *GOOD[1:])
    swapped = (GOOD[1], GOOD[0], GOOD[2], GOOD[3], GOOD[4])
    assert kept(CrossLingual(threshold=0.8), rows(GOOD, wrong, swapped), ctx, encoder) == [GOOD[0]]
    assert kept(BertScore(threshold=0.82), rows(GOOD, wrong), ctx, encoder) == [GOOD[0]]
    with pytest.raises(DataError, match="needs an encoder"):
        CrossLingual().select(rows(GOOD), None, ctx)


def test_there_and_back(apertium: None, registry: Registry, here: Context) -> None:
    selector = registry.build("selector", {"use": "round-trip", "translator": "apertium", "source": "es", "target": "gl", "threshold": 60})
    sources = ("El perro duerme bajo el árbol.", "El gato come pan en la casa.", "neutral")
    good = ("O can dorme baixo a árbore.", "O gato come pan na casa.", *sources)
    wrong = ("Mañá choverá na costa.", "O gato come pan na casa.", *sources)
    assert kept(selector, rows(good, wrong), here) == [good[0]]
    assert isinstance(selector, RoundTrip)
    assert selector.slot()["translator"]["use"] == "apertium"


class Counting:
    """A real translator that counts what it is asked."""

    name = "counting"

    def __init__(self, stop_after: int | None = None) -> None:
        self.asked: list[str] = []
        self.stop_after = stop_after

    def identity(self) -> dict[str, Any]:
        return {"use": "counting"}

    def beside(self) -> None:
        return None

    def offer(self, source: str, target: str) -> Offer:
        return Offer("counting", True, "", "MIT", True, "1")

    def translate(self, texts: list[str], source: str, target: str, ctx: Context) -> Iterator[tuple[int, Translation]]:
        for i in reversed(range(len(texts))):
            if self.stop_after is not None and len(self.asked) >= self.stop_after:
                return
            self.asked.append(texts[i])
            yield i, Translation(f"<{texts[i]}>", -0.5, 1)


@pytest.fixture
def nli(tmp_path: Path, registry: Registry) -> TranslatedNli:
    from langadapt.manifests import yaml
    from langadapt.manifests.resource import PathSource, Resource, Sources
    from langadapt.planning.raw import RawStage

    path = tmp_path / "nli.tsv"
    lines = [f"p{i % 300}\th{i}\tneutral" for i in range(600)]
    path.write_text("premise\thypothesis\tlabel\n" + "\n".join(lines) + "\n")
    data = Resource(name="nli-en", format="nli", sources=Sources(path=PathSource(paths=[str(path)])), licence="MIT")
    stage = RawStage("s", {}, yaml.parse("recipe: r", "r.yaml"), (), "r")
    return TranslatedNli(data=Pinner(None, registry).pin(data, stage), target_language="gl")


def test_each_sentence_once_and_every_row_knows_its_source(nli: TranslatedNli, here: Context) -> None:
    engine = Counting()
    found = list(nli.pairs(engine, here))
    assert len(engine.asked) == len(set(engine.asked)) == 900
    assert found[0] == {
        "premise": "<p0>", "hypothesis": "<h0>", "label": "neutral", "source_premise": "p0", "source_hypothesis": "h0",
        "engine": "counting", "licence": "MIT", "engine_licence": "MIT", "quality": -0.5, "unknown": 2,
    }  # fmt: skip
    again = Counting()
    assert list(nli.pairs(again, here)) == found
    assert again.asked == []


def test_an_engine_that_stops_loses_nothing_it_said(nli: TranslatedNli, here: Context) -> None:
    with pytest.raises(DataError, match="answered for 400 of 900"):
        list(nli.pairs(Counting(stop_after=400), here))
    engine = Counting()
    list(nli.pairs(engine, here))
    assert len(engine.asked) == 500


def test_many_processes_share_the_work(nli: TranslatedNli, here: Context) -> None:
    engines = [Counting() for _ in range(3)]
    for rank, engine in enumerate(engines):
        nli.share(engine, here, rank, 3)
    assert [len(engine.asked) for engine in engines] == [300, 300, 300]
    last = Counting()
    list(nli.pairs(last, here))
    assert last.asked == []


def test_a_memory_that_is_none(here: Context) -> None:
    memory = Memory(here.cache, "e", "1", "en", "gl")
    memory.add([("a", Translation("b", None, None))])
    memory.close()
    memory.path.write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match="translation memory cannot be used"):
        Memory(here.cache, "e", "1", "en", "gl").find(["a"])


@pytest.fixture
def english(tmp_path: Path, data: Path) -> dict[str, Path]:
    """Real English NLI and STS, a small part of each."""
    found = {}
    parts = (("nli-en", "nli-en/dev.tsv.gz", 400), ("sts-en", "stsb/en/dev.tsv.gz", 120), ("sts-test", "stsb/es/dev.tsv.gz", 60))
    for name, source, count in parts:
        with gzip.open(data / source, "rt", encoding="utf-8") as handle:
            lines = [line for _, line in zip(range(count), handle, strict=False)]
        found[name] = tmp_path / f"{name}.tsv"
        found[name].write_text("".join(lines), encoding="utf-8")
    return found


SMALL = [f"--set=stages.{name}.{option}" for name in ("sbert-nli", "sbert-sts") for option in ("epochs=null", "steps=2")]


def arguments(english: dict[str, Path], tiny: Path, *more: str) -> list[str | Path]:
    given = [f"--resource={name}={path}" for name, path in english.items()]
    return ["build", "--lang", "gl", "--recipe", "sbert-nli-sts", "--base", tiny, *given, "--out=out", *SMALL, *more]


@pytest.mark.slow
def test_a_build_translates_what_the_language_lacks(apertium: None, run: Run, tiny: Path, english: dict[str, Path], tmp_path: Path) -> None:
    done = run(*arguments(english, tiny, "--translator", "apertium", "--json"))
    assert done.returncode == 0, done.stderr
    card = (tmp_path / "out" / "release" / "README.md").read_text(encoding="utf-8")
    assert "| translation | apertium en-gl | GPL (engine and dictionaries) (covers the engine, not what it translates) |" in card
    assert "translated by machine from 'en' with apertium en-gl" in card
    page = (tmp_path / "out" / "data-nli.html").read_text(encoding="utf-8")
    assert "unknown-words" in page
    assert "<svg" in page
    key = json.loads(done.stdout)["keys"]["nli"]
    from langadapt.artifacts import dataset
    from langadapt.release.card import full_build

    assert full_build(json.loads((tmp_path / "out" / "release" / "provenance.json").read_text())).endswith(" --translator apertium")

    table = dataset.load(tmp_path / "store" / "objects" / key)
    row = table.rows[0]
    assert row["engine"] == "apertium en-gl"
    assert row["source_premise"] and row["premise"] != row["source_premise"]
    assert not any("source" in name for name in table.roles)
    assert run(*arguments(english, tiny, "--translator", "apertium")).stdout.startswith("Nothing to do")


@pytest.mark.slow
def test_two_processes_share_the_work(apertium: None, run: Run, tiny: Path, english: dict[str, Path], tmp_path: Path) -> None:
    """Under accelerate each process translates a part into one memory; the artifact is the one that a single process makes."""
    from langadapt.artifacts import dataset

    command = [*arguments(english, tiny, "--translator", "{use: apertium, block: 40}", "--json"), "--device=cpu", "--out=run"]
    one = run(*command)
    assert one.returncode == 0, one.stderr
    two = run(*command, "--processes", "2", env={"LANGADAPT_STORE": str(tmp_path / "store2"), "OMP_NUM_THREADS": "1"})
    assert two.returncode == 0, two.stderr
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [len(set(event["pids"])) for event in events if event["event"] == "processes"] == [2]
    for stage in ("nli", "sts"):
        key = json.loads(one.stdout)["keys"][stage]
        alone, together = (dataset.load(tmp_path / store / "objects" / key).rows for store in ("store", "store2"))
        assert list(alone) == list(together)
    assert _said(tmp_path / "store2" / "cache" / "translations") == _said(tmp_path / "store" / "cache" / "translations")


@pytest.mark.slow
def test_a_killed_translation_goes_on(apertium: None, tiny: Path, data: Path, english: dict[str, Path], tmp_path: Path) -> None:
    with gzip.open(data / "nli-en" / "train.tsv.gz", "rt", encoding="utf-8") as handle:
        english["nli-en"].write_text("".join(line for _, line in zip(range(2_500), handle, strict=False)), encoding="utf-8")
    environment = {**os.environ, "LANGADAPT_STORE": str(tmp_path / "store")}
    slot = "{use: apertium, block: 200, workers: 1}"
    command = [sys.executable, "-m", "langadapt", *map(str, arguments(english, tiny, "--translator", slot))]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    memories = tmp_path / "store" / "cache" / "translations"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not _said(memories):
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = _said(memories)
    assert first >= 200
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{first:,} translated before" in done.stderr


def _said(folder: Path) -> int:
    import sqlite3

    total = 0
    for file in folder.glob("*.sqlite"):
        base = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        try:
            total += base.execute("SELECT count(*) FROM said").fetchone()[0]
        except sqlite3.OperationalError:
            continue  # just made, no table yet
        finally:
            base.close()
    return total


def test_bad_requests(apertium: None, run: Run, tiny: Path, english: dict[str, Path], tmp_path: Path) -> None:
    cases = [
        (["--translator", "{use: apertium, via: [mr]}"], "no mode en → mr"),
        (["--translator", "apertum"], "Did you mean 'apertium'?"),
        (["--translator", "apertium", "--licence-policy", "permissive"], "states no licence"),
        (["--set=stages.nli.translator=null"], "names no translator"),
    ]
    for more, told in cases:
        done = run(*arguments(english, tiny, *more))
        assert done.returncode == 2, done.stderr
        assert told in done.stderr
        assert "Traceback" not in done.stderr
    unused = run("build", "--lang", "mr", "--recipe", "sbert-nli-sts", "--translator", "apertium", "--out=out")
    assert unused.returncode == 2
    assert "no stage translates" in unused.stderr
    assert not (tmp_path / "out").exists()


def test_ready_translations_and_what_they_lack(run: Run, tiny: Path, english: dict[str, Path], tmp_path: Path) -> None:
    table = tmp_path / "ready.tsv"
    table.write_text("en\tgl\nA man is here.\tUn home está aquí.\n", encoding="utf-8")
    done = run(*arguments(english, tiny, "--translator", f"{{use: file, data: {table}}}"))
    assert done.returncode == 2
    assert "sentences have no translation" in done.stderr
    table.write_text("en\tpt\nA man is here.\tUm homem.\n", encoding="utf-8")
    assert "no column 'target'" in run(*arguments(english, tiny, "--translator", f"{{use: file, data: {table}}}")).stderr


def test_commands(apertium: None, run: Run, tmp_path: Path) -> None:
    listed = run("translators", "--from", "en", "--to", "gl", "--json")
    assert listed.returncode == 0, listed.stderr
    found = {row["translator"]: row for row in json.loads(listed.stdout)}
    assert found["apertium"]["ready"]
    assert not found["bergamot"]["ready"]
    table = tmp_path / "a.tsv"
    table.write_text("sentence1\tsentence2\tscore\nThe dog sleeps under the tree.\tThe cat is in the house.\t1.5\n", encoding="utf-8")
    done = run("translate", table, "--from", "en", "--to", "gl", "--translator", "apertium", "-o", tmp_path / "b.tsv")
    assert done.returncode == 0, done.stderr
    header, row = (tmp_path / "b.tsv").read_text(encoding="utf-8").splitlines()
    assert header == "sentence1\tsentence2\tscore"
    assert "árbore" in row.split("\t")[0]
    assert "gato" in row.split("\t")[1]
    assert row.endswith("\t1.5")
    wrong = run("translate", table, "--from", "en", "--to", "gl", "--translator", "apertium", "--column", "x", "-o", tmp_path / "c.tsv")
    assert wrong.returncode == 2
    assert "no column 'x'" in wrong.stderr
