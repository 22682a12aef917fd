"""This checkout against another one of langadapt, side by side: the command, planning, loading, encoding, training.

python benchmarks/two_versions.py OTHER_CHECKOUT --base FOLDER --texts FILE [--rounds 5]

Every figure comes from a process of its own, the two versions in turn; a ratio is the median of the pairs' ratios (ours / theirs).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

MEASURE = """
import importlib, json, sys, tempfile, time
from pathlib import Path

base, texts, what = sys.argv[1], [line.rstrip() for line in open(sys.argv[2], encoding="utf-8")][:1000], sys.argv[3]


def found(*places):
    for place in places:  # names have moved from 0.1 to 0.2
        module, _, name = place.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            continue
    raise ImportError(places)


def trained(name):
    from datasets import Dataset
    from langadapt.artifacts import encoder as encoders
    from langadapt.registry.plugins import load_plugins
    from langadapt.registry.registry import Registry
    from langadapt.training.loop import Settings, train
    from langadapt.training.tokenized import TokenizedRows

    Context = found("langadapt.contracts.component:Context", "langadapt.registry.component:Context")
    registry, half = Registry(load_plugins()), len(texts) // 2
    objective = registry.build("objective", name)
    loaded = encoders.load(Path(base), mlm_head=objective.needs_mlm_head)
    columns = {
        "cosine-sts": {"sentence1": texts[:half], "sentence2": texts[half : 2 * half], "score": [0.5] * half},
        "multiple-negatives": {"anchor": texts[:half], "positive": texts[half : 2 * half]},
        "mlm": {"text": texts},
    }
    new = hasattr(objective, "roles")
    told = (objective.roles(), objective.long_texts) if new else (objective.long_texts,)
    data = TokenizedRows.of(objective.prepare(Dataset.from_dict(columns[name])), loaded.tokenizer, 64, *told)
    settings = Settings(8, 32, 1e-5, 0.01, 1, 1.0, "fp32", 4096, 10**9, "last")
    module = loaded.module(registry.build("pooler", "mean"))
    schedule, optimizer = registry.build("schedule", "linear"), registry.build("optimizer", "adamw")
    start = time.perf_counter()
    train(module, None, objective, data, loaded.tokenizer, schedule, optimizer, settings, None, Context(workdir=Path(tempfile.mkdtemp())))
    return time.perf_counter() - start


if what in ("plan", "help"):
    start = time.perf_counter()
    from langadapt.cli.app import main

    sys.argv = ["langadapt", *(["plan", "--lang", "mr", "--recipe", "sbert-nli-sts"] if what == "plan" else ["--help"])]
    kept, sys.stdout = sys.stdout, open("/dev/null", "w")
    try:
        main()
    except SystemExit:
        pass
    sys.stdout = kept
    seconds = time.perf_counter() - start
elif what in ("load", "encode"):
    import torch, transformers, tokenizers, safetensors.torch
    from langadapt import Encoder

    Encoder.load(base, device="cpu")  # imports, file cache
    start = time.perf_counter()
    encoder = Encoder.load(base, device="cpu")
    if what == "encode":
        encoder.encode(texts[:50])
        start = time.perf_counter()
        encoder.encode(texts)
    seconds = time.perf_counter() - start
else:
    seconds = trained(what)
print(json.dumps(seconds))
"""

WHATS = ("help", "plan", "load", "encode", "cosine-sts", "multiple-negatives", "mlm")


def measure(checkout: Path, base: str, texts: str, what: str) -> float:
    """Seconds of one measure in a fresh process of one version."""
    places = [str(checkout), *map(str, sorted(checkout.glob("plugins/*/src")))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "HF_HUB_OFFLINE": "1"}
    line = [sys.executable, "-c", MEASURE, base, texts, what]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True, cwd="/")
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("--base", required=True)
    parser.add_argument("--texts", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    ours = Path(__file__).resolve().parents[1]
    for what in WHATS:
        pairs = []
        for round_ in range(given.rounds):
            order = (ours, given.other.resolve()) if round_ % 2 == 0 else (given.other.resolve(), ours)
            times = {checkout: measure(checkout, given.base, given.texts, what) for checkout in order}
            pairs.append((times[ours], times[given.other.resolve()]))
        ratios = sorted(a / b for a, b in pairs)
        found = {
            "what": what,
            "ours s": round(statistics.median(a for a, _ in pairs), 3),
            "theirs s": round(statistics.median(b for _, b in pairs), 3),
            "ratio": round(statistics.median(ratios), 3),
            "range": [round(ratios[0], 3), round(ratios[-1], 3)],
        }
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
