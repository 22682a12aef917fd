"""Full fine-tuning against bottleneck, LoRA and QLoRA on the same pairs and steps: scores, weights, time and memory.

    python benchmarks/adapter_training.py MINILM --pairs PAIRS --work runs/adapters --out adapter-training.json

Every way is a `langadapt build` of one recipe in a process of its own; its peak memory is the process's.  Scores are compared by a
paired bootstrap over queries.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

WAYS: dict[str, tuple[str, str, str]] = {
    # name: adaptation, learning rate, optimizer
    "full": ("full", "5e-5", "adamw"),
    "bottleneck": ("{use: bottleneck, form: seq_bn, reduction_factor: 16}", "1e-3", "adamw"),
    "lora-all": ("{use: lora, r: 8, targets: all}", "1e-3", "adamw"),
    "lora-small": ("{use: lora, r: 4, alpha: 8, targets: attention}", "1e-3", "adamw"),
    "twin-lora": ("{use: twin-lora, r: 4, alpha: 8, targets: attention}", "1e-3", "adamw"),
    "semi-siamese": ("semi-siamese", "1e-3", "adamw"),
    "semi-siamese-plus": ("{use: semi-siamese, output: true}", "1e-3", "adamw"),
    "qlora-8bit": ("{use: qlora-8bit, r: 8, targets: all}", "1e-3", "adamw-8bit"),
    "qlora-4bit": ("{use: qlora-4bit, r: 8, targets: all}", "1e-3", "adamw-8bit"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder for runs and store")
    parser.add_argument("--epochs", default="1")
    parser.add_argument("--batch", default="32")
    parser.add_argument("--max-length", default="64")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--domain", default="clinical")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    for way in options.ways:
        found[way] = build(way, options)
        print(json.dumps({way: {k: v for k, v in found[way].items() if k != "scores"}}), flush=True)
    for way in options.ways:
        found[way]["against full"] = compare(found, way, options)
    for way, facts in found.items():
        print(way, json.dumps({k: v for k, v in facts.items() if k != "scores"}))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def build(way: str, options: argparse.Namespace) -> dict[str, Any]:
    """One build in a process of its own."""
    adaptation, rate, optimizer = WAYS[way]
    out = options.work / way
    command = [sys.executable, "-m", "langadapt", "build", "--lang", "en", "--domain", options.domain, "--recipe", "domain-adapter"]
    command += ["--base", str(options.base), "--resource", f"pairs={options.pairs}", "--store", str(options.work / "store")]
    sets = {
        "base.max_length": options.max_length,
        "adapter.adaptation": adaptation,
        "adapter.learning_rate": rate,
        "adapter.optimizer": optimizer,
        "adapter.epochs": options.epochs,
        "adapter.batch_size": options.batch,
    }
    if way == "full":
        sets["release.exporters"] = "[sentence-transformers]"
    for key, value in sets.items():
        command += ["--set", f"stages.{key}={value}"]
    start = time.monotonic()
    process = subprocess.Popen([*command, "--out", str(out), "--quiet"])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{way}: the build ended with {os.waitstatus_to_exitcode(status)}")
    lock = json.loads((out / "lock.json").read_text(encoding="utf-8"))["stages"]
    record = json.loads((options.work / "store" / "objects" / lock["adapter"]["key"] / "artifact.json").read_text(encoding="utf-8"))
    scores = json.loads((out / "release" / "scores.json").read_text(encoding="utf-8"))
    return {
        "trained": record["trained"],
        "training seconds": round(record["seconds"], 1),
        "wall seconds": round(time.monotonic() - start, 1),
        "MB on disk": round(sum(f["bytes"] for f in record["files"].values()) / 1e6, 2),
        "peak MB": round(usage.ru_maxrss / 1024),
        "scores": scores,
        "final": {score["metric"]: [score["value"], score["low"], score["high"]] for score in scores["adapter"]},
        "base": {score["metric"]: score["value"] for score in scores["base"]},
    }


def compare(found: dict[str, Any], way: str, options: argparse.Namespace) -> dict[str, Any]:
    """Difference of MRR@10 and accuracy to full fine-tuning, with a paired 95 % bootstrap interval."""
    if "full" not in options.ways:
        return {}
    full, own = reciprocal_ranks("full", options), reciprocal_ranks(way, options)
    rng = np.random.default_rng(42)
    drawn = [rng.integers(len(full), size=len(full)) for _ in range(1000)]
    differences = [100 * float((own - full)[rows].mean()) for rows in drawn]
    low, high = np.percentile(differences, [2.5, 97.5])
    return {"mrr@10": round(100 * float((own - full).mean()), 2), "interval": [round(float(low), 2), round(float(high), 2)]}


def reciprocal_ranks(way: str, options: argparse.Namespace) -> np.ndarray:
    """1/rank of each held-out query's passage under a trained encoder, 0 beyond rank 10."""
    from langadapt_evaluators.retrieval import Retrieval

    from langadapt.contracts.component import Context
    from langadapt.data import retrieval
    from langadapt.inference.encoder import Encoder
    from langadapt.manifests.resource import PathSource, Resource, Sources

    out = options.work / way
    key = json.loads((out / "lock.json").read_text(encoding="utf-8"))["stages"]["adapter"]["key"]
    encoder = Encoder.load(options.work / "store" / "objects" / key)
    data = Resource(name="pairs", format="retrieval", sources=Sources(path=PathSource(paths=[str(options.pairs)])))
    found = retrieval.load(data, [options.pairs])
    held = {name for name, text in found.passages.items() if retrieval.held_out(text, 0.15)}
    queries = [q for q, good in found.relevant.items() if held.issuperset(good)]
    names = [name for name in found.passages if name in held]
    place = {name: i for i, name in enumerate(names)}
    grades = [{place[name]: grade for name, grade in found.relevant[q].items()} for q in queries]
    judge = Retrieval(data=data)
    ranks = judge._ranks(encoder, [found.queries[q] for q in queries], [found.passages[n] for n in names], grades, Context())
    return np.array([1 / best if (best := one.min()) <= 10 else 0.0 for one in ranks])


if __name__ == "__main__":
    main()
