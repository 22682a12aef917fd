"""Threads encode with random adapters while another adds and removes some: is every vector the one its adapter gives alone?

    python benchmarks/adapter_stress.py MINILM --texts short.txt --seconds 60
    python benchmarks/adapter_stress.py MINILM --texts short.txt --adapter telecom=RELEASE --adapter clinical=RELEASE

Without --adapter, adapters of several kinds with random weights are made, some with prompts and maximum lengths of their own; with it,
these releases are also checked in mixed batches of all orders.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import itertools
import json
import logging
import random
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from langadapt.artifacts import adapter as adapters
from langadapt.artifacts import encoder as encoders
from langadapt.data.tables import lines
from langadapt.errors import ModelError
from langadapt.inference.encoder import Encoder
from langadapt.modeling.digest import weights_digest
from langadapt.registry.plugins import load_plugins
from langadapt.registry.registry import Registry

SLOTS: list[dict[str, Any]] = [
    {"use": "lora", "r": 8},
    {"use": "bottleneck", "form": "seq_bn"},
    {"use": "lora", "r": 64, "dora": True},
    {"use": "ia3"},
    {"use": "bottleneck", "form": "par_bn", "reduction_factor": 2},
    {"use": "lora", "r": 2, "targets": "attention"},
]
READINGS = [("", 128), ("query: ", 128), ("passage: ", 16)]


@dataclass
class Seen:
    """What the threads met."""

    counts: Counter[str] = field(default_factory=Counter)
    worst: float = 0.0
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, what: str, count: int = 1, distance: float = 0.0) -> None:
        with self.lock:
            self.counts[what] += count
            self.worst = max(self.worst, distance)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("--texts", type=Path, required=True, help="a file with a sentence a line")
    parser.add_argument("--adapter", action="append", default=[], metavar="NAME=PATH", help="a released adapter (repeatable)")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--count", type=int, default=48, help="texts")
    parser.add_argument("--resident", type=int, default=6, help="adapters that fit in memory")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("langadapt").setLevel(logging.ERROR)  # cut texts and bases that nobody stated are meant here
    texts = [text for _, text in lines(options.texts)][: options.count]
    found: dict[str, Any] = {"threads": options.threads, "seconds": options.seconds, "texts": len(texts)}
    with tempfile.TemporaryDirectory() as work:
        given = dict(item.split("=", 1) for item in options.adapter)
        folders = {name: Path(path) for name, path in given.items()} or make_adapters(options.base, Path(work))
        expected = alone(options.base, folders, texts)
        found["mixed batches"] = mixed_batches(options.base, folders, texts, expected)
        found["threads and changes"] = stress(options, folders, texts, expected)
    print(json.dumps(found, indent=1))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if found["threads and changes"]["failures"]:
        raise SystemExit(1)


def make_adapters(base: Path, work: Path) -> dict[str, Path]:
    """Two adapters of each kind with random weights; what says how their texts are read stands beside them."""
    registry, loaded, digest = Registry(load_plugins()), encoders.load(base, mlm_head=False), weights_digest(base)
    found = {}
    for i, slot in enumerate([*SLOTS, *SLOTS]):
        torch.manual_seed(i)
        model, adaptation = copy.deepcopy(loaded.model), registry.build("adaptation", slot)
        adaptation.attach(model)  # type: ignore[attr-defined]
        for weight in model.parameters():
            if weight.requires_grad:
                weight.data += 0.03 * torch.randn(weight.shape)
        folder = found[f"{slot['use']}{i}"] = work / str(i)
        adaptation.save(model, folder)  # type: ignore[attr-defined]
        prompt, length = READINGS[i % len(READINGS)]
        settings = dataclasses.asdict(loaded.settings.with_(prompt=prompt, max_length=length))
        (folder / "encoder.json").write_text(json.dumps(settings), encoding="utf-8")
        named = adapters.Base(digest, str(loaded.model.config.model_type), 1)
        adapters.save(adapters.AdapterRecord(adaptation.slot(), adaptation.library, named, 1), folder)  # type: ignore[attr-defined]
    return found


def alone(base: Path, folders: dict[str, Path], texts: list[str]) -> dict[str | None, np.ndarray]:
    """Vectors of every adapter in an encoder of its own, and of the base."""
    found: dict[str | None, np.ndarray] = {None: Encoder.load(base, device="cpu").encode(texts)}
    for name, folder in folders.items():
        encoder = Encoder.load(base, device="cpu")
        encoder.add_adapter(name, folder)
        found[name] = encoder.encode(texts, adapter=name)
    return found


def mixed_batches(base: Path, folders: dict[str, Path], texts: list[str], expected: dict[str | None, np.ndarray]) -> dict[str, Any]:
    """Every text with every adapter in batches where neighbours have others."""
    encoder = Encoder.load(base, device="cpu")
    for name, folder in folders.items():
        encoder.add_adapter(name, folder)
    names: list[str | None] = [None, *folders]
    worst = 0.0
    for shift in range(len(names)):
        chosen = [names[(i + shift) % len(names)] for i in range(len(texts))]
        mixed = encoder.encode(texts, adapter=chosen)
        worst = max([worst, *(float(np.abs(mixed[i] - expected[name][i]).max()) for i, name in enumerate(chosen))])
    apart = [float(np.abs(expected[a] - expected[b]).max(1).min()) for a, b in itertools.combinations(names, 2)]
    return {"vectors": len(names) * len(texts), "largest difference to alone": worst, "least difference between two adapters": min(apart)}


def stress(
    options: argparse.Namespace, folders: dict[str, Path], texts: list[str], expected: dict[str | None, np.ndarray]
) -> dict[str, Any]:
    """The threads, and what they saw."""
    encoder = Encoder.load(options.base, device="cpu", max_adapters=options.resident)
    seen, until = Seen(), time.monotonic() + options.seconds
    names: list[str | None] = [None, *folders]

    def encode(seed: int) -> None:
        rng = random.Random(seed)
        while time.monotonic() < until and not seen.failures:
            rows = [rng.randrange(len(texts)) for _ in range(rng.choice([1, 4, 12]))]
            pool = rng.sample(names, min(3, len(names)))
            chosen = [rng.choice(pool) for _ in rows]
            try:
                vectors = encoder.encode([texts[row] for row in rows], adapter=chosen)
            except ModelError as error:
                if "no adapter is called" not in str(error):
                    raise
                seen.add("calls for an adapter that was not there")
                continue
            worst = max(float(np.abs(one - expected[name][row]).max()) for one, name, row in zip(vectors, chosen, rows, strict=True))
            seen.add("vectors", len(rows), worst)

    def change() -> None:
        rng = random.Random(99)
        while time.monotonic() < until and not seen.failures:
            name = rng.choice(list(folders))
            if name in encoder.adapters:
                encoder.remove_adapter(name)
                seen.add("removed")
            else:
                encoder.add_adapter(name, folders[name])
                seen.add("added")
            time.sleep(rng.choice([0.0, 0.005, 0.02]))

    def told(work: Any, *arguments: Any) -> None:
        try:
            work(*arguments)
        except Exception as error:  # a thread's error would be lost with it
            seen.failures.append(repr(error))

    threads = [threading.Thread(target=told, args=(encode, seed)) for seed in range(options.threads)]
    threads.append(threading.Thread(target=told, args=(change,)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {**seen.counts, "largest difference to alone": seen.worst, "failures": seen.failures}


if __name__ == "__main__":
    main()
