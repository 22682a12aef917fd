"""Texts with slips and in other words; what encoding costs."""

from __future__ import annotations

import gzip
import os
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import regex
from langadapt_evaluators.energy import Energy
from langadapt_evaluators.paraphrase_robustness import Changed, ParaphraseRobustness, slip
from langadapt_evaluators.sts import Sts
from langadapt_translate.file_generator import FileGenerator

from langadapt import metering
from langadapt.contracts.component import Context
from langadapt.errors import DataError
from langadapt.inference.encoder import Encoder
from langadapt.inference.remembering import remember
from langadapt.manifests.resource import Format, PathSource, Resource, Sources
from langadapt.planning.pinning import pin_paths

pytestmark = pytest.mark.usefixtures("one_thread")


def resource(path: Path, form: Format) -> Resource:
    found = Resource(name=path.name.partition(".")[0], format=form, sources=Sources(path=PathSource(paths=[str(path)])))
    return found.model_copy(update={"pinned": pin_paths(found, (path.absolute(),), "here")})


@pytest.fixture(scope="module")
def sentences(data: Path) -> list[str]:
    with gzip.open(data / "raw" / "mr.txt.gz", "rt", encoding="utf-8") as handle:
        return [line.strip() for line in islice(handle, 400) if 5 <= len(line.split()) <= 40][:150]


@pytest.fixture(scope="module")
def encoder(tiny: Path) -> Encoder:
    return Encoder.load(tiny, device="cpu")


def test_slips_are_what_they_say(sentences: list[str]) -> None:
    """On real Marathi: letters and words stay or go as told, nearly every text is touched, and none is emptied."""
    rng = np.random.default_rng(0)
    changed: Counter[str] = Counter()
    for text in sentences:
        words = text.split()
        made = {kind: slip(kind, 0.15)(text, rng) for kind in ("typos", "dropped-words", "swapped-words", "case", "punctuation")}
        changed.update(kind for kind, one in made.items() if one != " ".join(words))
        assert Counter(regex.findall(r"\X", made["typos"])) == Counter(regex.findall(r"\X", " ".join(words)))
        assert [len(regex.findall(r"\X", word)) for word in made["typos"].split()] == [len(regex.findall(r"\X", word)) for word in words]
        touched = sum(a != b for a, b in zip(made["typos"].split(), words, strict=True))
        places = sum(len(set(regex.findall(r"\X", word))) > 1 and word.isalpha() for word in words)
        assert min(places, max(1, round(0.15 * len(words)))) <= touched <= max(1, round(0.15 * len(words)))
        assert Counter(made["swapped-words"].split()) == Counter(words)
        left = iter(words)
        assert all(word in left for word in made["dropped-words"].split())
        assert len(made["dropped-words"].split()) == len(words) - max(1, round(0.15 * len(words)))
        assert not regex.search(r"\p{P}", made["punctuation"])
    assert min(changed[kind] for kind in ("typos", "dropped-words", "swapped-words")) > 0.9 * len(sentences)
    assert slip("typos", 0.15)("माझी मुलगी शाळेत जाते", rng) != "माझी मुलगी शाळेत जाते"
    assert slip("dropped-words", 1.0)("one two three", rng) == "three"
    assert slip("typos", 0.5)("a b", rng) == "a b"
    assert slip("case", 0.5)("Ab", rng) in ("aB", "AB")


@pytest.fixture(scope="module")
def pairs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Resource:
    """Thirty real Marathi pairs with scores."""
    (source,) = (data / "mahasts-mr").glob("*dev*")
    path = tmp_path_factory.mktemp("pairs") / "mahasts.tsv"
    with gzip.open(source, "rt", encoding="utf-8") as handle:
        path.write_text("".join(islice(handle, 31)), encoding="utf-8")
    return resource(path, "sts")


def test_runs_are_summed(pairs: Resource, encoder: Encoder) -> None:
    """The mean, least and greatest of the evaluator on texts changed once a run; the first figure is the plain one's."""
    inner = Sts(data=pairs, samples=100)
    robust = ParaphraseRobustness(evaluator=inner, slips=["dropped-words"], runs=3)
    plain, shown, lost, spread = robust.evaluate(encoder, Context())
    assert plain.value == inner.evaluate(encoder, Context())[0].value
    values, drawn = [], []
    for run in range(3):
        ctx, change = Context(), slip("dropped-words", 0.15)

        def drop(some: list[str], run: int = run, ctx: Context = ctx, change: Any = change) -> list[str]:
            return [change(one, ctx.rng(f"dropped-words {run} {one}")) for one in some]

        score = inner.evaluate(Changed(encoder, drop), ctx)[0]
        values.append(score.value)
        drawn.append(score.resampled)
    assert len(set(values)) == 3
    ends = np.percentile(np.mean(drawn, axis=0), [2.5, 97.5])
    assert (shown.value, shown.low, shown.high) == (pytest.approx(np.mean(values)), pytest.approx(ends[0]), pytest.approx(ends[1]))
    assert lost.value == pytest.approx(plain.value - np.mean(values))
    ends = np.percentile(plain.resampled - np.mean(drawn, axis=0), [2.5, 97.5])
    assert (lost.low, lost.high) == (pytest.approx(ends[0]), pytest.approx(ends[1]))
    assert (spread.value, spread.n) == (pytest.approx(np.std(values, ddof=1)), 3)
    assert not lost.higher_is_better


def test_what_is_shared_with_training_is_told(pairs: Resource) -> None:
    """An evaluator around another answers for its data as that one does, or a leak check would accuse it."""
    from langadapt_evaluators.layer_sweep import LayerSweep
    from langadapt_evaluators.retrieval import Retrieval

    inner = Retrieval(data=pairs, held_out=0.2)
    assert inner.shared_resource() is not None
    for outer in (ParaphraseRobustness(evaluator=inner), LayerSweep(evaluator=inner)):
        assert outer.shared_resource() == inner.shared_resource()
        assert outer.test_data == inner.test_data


def test_a_text_is_changed_once_a_run(encoder: Encoder) -> None:
    asked: list[list[str]] = []
    changed = Changed(encoder, lambda texts: asked.append(texts) or [text + "!" for text in texts])  # type: ignore[func-returns-value]
    first = changed.encode(["a dog", "it rains", "a dog"], normalize=True)
    again = changed.encode(["it rains"], normalize=True)
    assert asked == [["a dog", "it rains"]]
    assert np.allclose(first[1], again[0], atol=1e-6)
    assert np.allclose(first, encoder.encode(["a dog!", "it rains!", "a dog!"], normalize=True), atol=1e-6)
    assert changed.width == encoder.width
    for name in ("token_states", "at_layer", "every_layer", "trainable_copy", "encode_multi", "masked_log_probabilities"):
        with pytest.raises(DataError, match="reads more than vectors of texts"):
            getattr(changed, name)


def test_paraphrases_of_a_generator(pairs: Resource, encoder: Encoder, tmp_path: Path) -> None:
    """Answers that say the same again lose nothing; one that is missing is an error, and so is nothing to change texts with."""
    rows = [line.split("\t") for line in Path(str(pairs.sources.path.paths[0])).read_text(encoding="utf-8").splitlines()]  # type: ignore[union-attr]
    places = [rows[0].index(name) for name in ("sentence1", "sentence2")]
    texts = list(dict.fromkeys(row[place] for row in rows[1:] for place in places))
    path = tmp_path / "answers.tsv"
    lines = [f"{run} {text}\t{text if run == 1 else text.upper() + ' x'}\n" for run in (1, 2) for text in texts]
    path.write_text("prompt\tanswer\n" + "".join(lines), encoding="utf-8")
    generator = FileGenerator(data=resource(path, "classification"))
    options: dict[str, Any] = {"slips": [], "generator": generator, "prompt": "{run} {text}", "runs": 2}
    plain, shown, lost, spread = ParaphraseRobustness(evaluator=Sts(data=pairs, samples=100), **options).evaluate(encoder, Context())
    assert shown.task.endswith("paraphrases")
    other = 2 * shown.value - plain.value  # of the two runs one says the same again
    assert other != pytest.approx(plain.value)
    assert spread.value == pytest.approx(abs(plain.value - other) / np.sqrt(2))
    assert lost.value == pytest.approx((plain.value - other) / 2)
    with pytest.raises(DataError, match="there is no answer to"):
        ParaphraseRobustness(evaluator=Sts(data=pairs), **{**options, "runs": 3}).evaluate(encoder, Context())
    with pytest.raises(DataError, match="nothing to change texts with"):
        ParaphraseRobustness(evaluator=Sts(data=pairs), slips=[]).evaluate(encoder, Context())


# energy -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def lines(sentences: list[str], tmp_path: Path) -> Resource:
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(sentences) + "\n", encoding="utf-8")
    return resource(path, "text")


def test_every_repeat_is_computed(lines: Resource, tiny: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also by an encoder that remembers what it read; without counters the figure is core-seconds, and is called estimated."""
    monkeypatch.setattr(metering, "COUNTERS", tmp_path / "none")
    encoder = Encoder.load(tiny, device="cpu")
    remember(encoder)
    encoder.encode(list(Path(str(lines.sources.path.paths[0])).read_text(encoding="utf-8").splitlines()))  # type: ignore[union-attr]
    passes: list[int] = []
    encoder._module.model.register_forward_hook(lambda module, given, found: passes.append(1))
    energy, speed = Energy(data=lines, texts=50, repeats=3).evaluate(encoder, Context())
    of_three = len(passes)
    passes.clear()
    Energy(data=lines, texts=50, repeats=1).evaluate(encoder, Context())
    assert of_three > 2 * len(passes) > 0
    assert energy.metric == "energy, estimated"
    assert energy.n == speed.n == 50
    assert energy.low <= energy.value <= energy.high  # type: ignore[operator]
    assert energy.value > 0
    # core-seconds × watts / cores for a thousand texts: one thread is busy, so the least is what the fastest repeat took on one core
    one_core = 1000 / speed.value * 85 / (os.cpu_count() or 1)
    assert 0.3 * one_core < energy.value < 4 * one_core
    single = Energy(data=lines, texts=50, repeats=1).evaluate(encoder, Context())
    assert [(score.low, score.high) for score in single] == [(None, None)] * 2


def test_counters_are_read(lines: Resource, tiny: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the processor counts meanwhile, as files of the kernel's form; a counter that begins anew is followed."""
    package = tmp_path / "intel-rapl:0"
    (package / "intel-rapl:0:0").mkdir(parents=True)
    (package / "max_energy_range_uj").write_text("10000000\n")
    for place in (package, package / "intel-rapl:0:0"):
        (place / "energy_uj").write_text("9000000\n")
    monkeypatch.setattr(metering, "COUNTERS", tmp_path)
    meter = metering.Meter()
    block = np.ones(40_000_000)
    del block
    peak = meter.read()["peak_mb"]
    metering.Meter(fresh_peak=False)
    assert meter.read()["peak_mb"] >= peak  # what a stage held is not forgotten by who measures a part of it
    (package / "energy_uj").write_text("2500000\n")
    assert meter.read()["joules"] == 3.5
    encoder = Encoder.load(tiny, device="cpu")
    count = iter(range(10**6))

    def spend(*given: Any) -> None:
        (package / "energy_uj").write_text(f"{2_500_000 + 1000 * next(count)}\n")

    encoder._module.model.register_forward_hook(spend)
    energy, _ = Energy(data=lines, texts=100, repeats=2).evaluate(encoder, Context())
    assert energy.metric == "energy"
    assert energy.value > 0


class Card:
    """NVIDIA's library as far as it is asked, without a card: millijoules since the driver was loaded."""

    class NVMLError(Exception):
        pass

    spent = 1000

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, i: int) -> int:
        return i

    def nvmlDeviceGetTotalEnergyConsumption(self, card: int) -> int:
        return self.spent * (card + 1)


def test_cards_are_read_where_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card()
    monkeypatch.setitem(__import__("sys").modules, "pynvml", card)
    meter = metering.Meter()
    card.spent = 3000
    assert meter.read()["gpu_joules"] == 6.0
    fails: Callable[[], int] = lambda: (_ for _ in ()).throw(Card.NVMLError())  # noqa: E731
    monkeypatch.setattr(card, "nvmlInit", fails)
    assert "gpu_joules" not in metering.Meter().read()
