"""Many threads encode with many adapters while others come, go and leave memory: every vector is the one it should be."""

from __future__ import annotations

import copy
import dataclasses
import gzip
import importlib.util
import itertools
import json
import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from langadapt import Encoder
from langadapt.artifacts import adapter as adapters
from langadapt.artifacts import encoder as encoders
from langadapt.errors import ModelError
from langadapt.modeling.digest import weights_digest
from langadapt.registry.registry import Registry

pytestmark = pytest.mark.usefixtures("one_thread")

SECONDS, LATEST, THREADS = 5.0, 60.0, 8
SLOTS = [
    {"use": "lora", "r": 2, "targets": "attention"},
    {"use": "lora", "r": 16, "rslora": True},
    {"use": "lora", "r": 4, "dora": True},
    {"use": "ia3"},
    {"use": "lora", "r": 7, "targets": ["output.dense"]},
    {"use": "bottleneck", "form": "double_seq_bn", "reduction_factor": 48},
    {"use": "lora", "r": 1},
    {"use": "bottleneck", "form": "par_bn", "reduction_factor": 3},
]
if importlib.util.find_spec("adapters") is None:  # its library needs transformers 4: there LoRA and IA³ serve alone
    SLOTS = [slot for slot in SLOTS if slot["use"] != "bottleneck"]
LASTING = [f"lasting{i}" for i in range(7)]
PASSING = [f"passing{i}" for i in range(5)]
READINGS = {
    "lasting1": ("query: ", 64),
    "lasting5": ("passage: ", 7),
    "passing0": ("मजकूर: ", 64),
    "passing2": ("", 5),
    "passing4": ("a: ", 9),
}
"""Prompts and maximum lengths that adapters bring."""


@pytest.fixture(scope="module")
def folders(tiny: Path, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Adapters of many kinds, with weights that matter."""
    found, plain = {}, encoders.load(tiny, mlm_head=False).model
    for i, name in enumerate([*LASTING, *PASSING]):
        torch.manual_seed(i)
        model = copy.deepcopy(plain)
        adaptation = registry.build("adaptation", SLOTS[i % len(SLOTS)])
        adaptation.attach(model)  # type: ignore[attr-defined]
        for weight in model.parameters():
            if weight.requires_grad:
                weight.data += 0.05 * torch.randn(weight.shape)
        found[name] = tmp_path_factory.mktemp("adapters") / name
        adaptation.save(model, found[name])  # type: ignore[attr-defined]
        if name in READINGS:
            state(adaptation, tiny, found[name], *READINGS[name])
    return found


def state(adaptation: Any, base: Path, folder: Path, prompt: str, length: int) -> None:
    """Say beside an adapter what a training would: its base, how its texts are read, and what it is routed by."""
    settings = encoders.read_settings(base)[0].with_(prompt=prompt, max_length=length)
    (folder / "encoder.json").write_text(json.dumps(dataclasses.asdict(settings)), encoding="utf-8")
    record = adapters.AdapterRecord(adaptation.slot(), adaptation.library, adapters.Base(weights_digest(base), "bert", 1), 1)
    adapters.save(record, folder)
    adapters.save_centroid(np.random.default_rng(length).normal(size=384), folder)


@pytest.fixture(scope="module")
def texts(data: Path) -> list[str]:
    with gzip.open(data / "raw" / "mr-social.txt.gz", "rt", encoding="utf-8") as handle:
        return [line.strip() for line in itertools.islice(handle, 40)]


@pytest.mark.slow
def test_eight_threads_and_one_that_changes_everything(tiny: Path, folders: dict[str, Path], texts: list[str]) -> None:
    alone = Encoder.load(tiny, device="cpu")
    expected: dict[str | None, np.ndarray] = {None: alone.encode(texts)}
    for name, folder in folders.items():
        alone.add_adapter(name, folder)
        expected[name] = alone.encode(texts, adapter=name)
        alone.remove_adapter(name)
        assert np.abs(expected[name] - expected[None]).max() > 1e-3

    encoder = Encoder.load(tiny, device="cpu", max_adapters=4)
    for name in LASTING:
        encoder.add_adapter(name, folders[name])
    encoder.stack_adapters("both", LASTING[:1] * 2)
    expected["both"] = encoder.encode(texts, adapter="both")
    failures: list[BaseException] = []
    counts: Counter[str] = Counter()
    until, latest = time.monotonic() + SECONDS, time.monotonic() + LATEST

    def going() -> bool:
        """Until everything was met often enough, on a busy machine too."""
        now, met = time.monotonic(), counts["vectors"] > 50 and counts["passing"] > 5 and counts["added"] > 5
        return not failures and now < latest and (now < until or not met)

    def encode(seed: int) -> None:
        rng = random.Random(seed)
        try:
            while going():
                rows = [rng.randrange(len(texts)) for _ in range(rng.choice([1, 3, 8]))]
                pool = [*LASTING, None, "both"] if rng.random() < 0.7 else [*PASSING, *LASTING[:2], None]
                names = [rng.choice(pool) for _ in rows] if rng.random() < 0.7 else [rng.choice(pool)] * len(rows)
                try:
                    found = encoder.encode([texts[row] for row in rows], adapter=names, batch_tokens=rng.choice([64, 4096]))
                except ModelError as error:
                    if "no adapter is called 'passing" not in str(error):
                        raise
                    counts["unknown"] += 1
                    continue
                for vector, row, name in zip(found, rows, names, strict=True):
                    worst = np.abs(vector - expected[name][row]).max()
                    assert worst <= 1e-5, (name, names, worst)
                    counts["passing" if name in PASSING else "vectors"] += 1
        except BaseException as error:
            failures.append(error)

    def change() -> None:
        rng = random.Random(99)
        try:
            while going():
                name = rng.choice(PASSING)
                if name in encoder.adapters:
                    encoder.remove_adapter(name)
                else:
                    encoder.add_adapter(name, folders[name])
                    counts["added"] += 1
                time.sleep(rng.choice([0, 0.01, 0.05]))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=encode, args=(seed,), daemon=True) for seed in range(THREADS)]
    threads.append(threading.Thread(target=change, daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=latest + 30 - time.monotonic())
    assert not any(thread.is_alive() for thread in threads), "threads wait for one another"
    assert not failures, failures[0]
    assert counts["vectors"] > 50, counts
    assert counts["passing"] > 5, counts
    assert counts["added"] > 5, counts

    bank = encoder._adapters.bank()
    parts = [part for one in bank._names.values() for part in one.parts]
    assert all(part.pins == 0 for part in parts)
    used = {part.slot for part in parts if part.slot is not None}
    assert sorted([*used, *bank.slots._free]) == list(range(1, bank.slots._count)), "every slot is either used or free, and once"
    for name in list(encoder.adapters):
        assert np.abs(encoder.encode(texts, adapter=name) - expected[name]).max() <= 1e-5, name
    assert np.array_equal(encoder.encode(texts), expected[None])


def test_a_name_that_comes_and_goes_is_never_half_there(tiny: Path, folders: dict[str, Path], texts: list[str]) -> None:
    """One name stands in turn for two adapters with prompts of their own: each vector is wholly one's or the other's."""
    encoder = Encoder.load(tiny, device="cpu")
    expected = []
    for name in ("passing0", "lasting1"):
        encoder.add_adapter("x", folders[name])
        expected.append(encoder.encode(texts[:8], adapter="x"))
        encoder.remove_adapter("x")
    failures: list[BaseException] = []
    seen: Counter[int] = Counter()
    until, latest = time.monotonic() + SECONDS / 2, time.monotonic() + LATEST

    def going() -> bool:
        now = time.monotonic()
        return not failures and now < latest and (now < until or len(seen) < 2)

    def flip() -> None:
        try:
            while going():
                for name in ("passing0", "lasting1"):
                    encoder.add_adapter("x", folders[name])
                    encoder.remove_adapter("x")
        except BaseException as error:
            failures.append(error)

    def encode(seed: int) -> None:
        rng = random.Random(seed)
        try:
            while going():
                row = rng.randrange(8)
                try:
                    (vector,) = encoder.encode([texts[row]], adapter="x")
                    (routed,) = encoder.route([texts[row]])
                except ModelError as error:
                    if "no adapter is called 'x'" not in str(error) and "no adapter here has a centroid" not in str(error):
                        raise
                    continue
                distances = [np.abs(vector - one[row]).max() for one in expected]
                assert min(distances) <= 1e-5, distances
                assert routed == "x"
                seen[int(np.argmin(distances))] += 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=encode, args=(seed,), daemon=True) for seed in range(3)]
    threads.append(threading.Thread(target=flip, daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=latest + 30 - time.monotonic())
    assert not failures, failures[0]
    assert len(seen) == 2, "both were met"


def test_one_name_is_added_once_whoever_asks(tiny: Path, folders: dict[str, Path], texts: list[str]) -> None:
    encoder = Encoder.load(tiny, device="cpu")
    gate = threading.Barrier(len(LASTING))
    outcomes: list[str] = []

    def add(folder: Path) -> None:
        gate.wait(20)
        try:
            encoder.add_adapter("x", folder)
            outcomes.append("added")
        except ModelError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=add, args=(folders[name],), daemon=True) for name in LASTING]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(outcomes) == len(LASTING)
    assert outcomes.count("added") == 1
    assert sum("there is an adapter 'x' already" in outcome for outcome in outcomes) == len(LASTING) - 1
    vectors = encoder.encode(texts[:4], adapter="x")
    candidates = []
    for name in LASTING:
        encoder.add_adapter(name, folders[name])
        candidates.append(np.abs(encoder.encode(texts[:4], adapter=name) - vectors).max())
    assert sum(distance <= 1e-5 for distance in candidates) == 1
