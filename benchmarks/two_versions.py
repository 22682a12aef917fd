"""This checkout against another one of langadapt, side by side: loading, encoding, training, planning.

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
import json, sys, time
base, texts, what = sys.argv[1], [line.rstrip() for line in open(sys.argv[2], encoding="utf-8")][:1000], sys.argv[3]
if what == "plan":
    from langadapt import Request, plan
    start = time.perf_counter()
    plan(Request(recipes=("sbert-nli-sts",), lang="mr"))
else:
    import torch
    from langadapt import Encoder
    import transformers, tokenizers, safetensors.torch
    Encoder.load(base, device="cpu")  # imports, file cache
    start = time.perf_counter()
    encoder = Encoder.load(base, device="cpu")
    if what == "encode":
        encoder.encode(texts[:50])
        start = time.perf_counter()
        encoder.encode(texts)
    elif what == "train":
        from datasets import Dataset
        from langadapt.artifacts import encoder as encoders
        from langadapt.contracts.component import Context
        from langadapt.registry.plugins import load_plugins
        from langadapt.registry.registry import Registry
        from langadapt.training.loop import Settings, train
        from langadapt.training.tokenized import TokenizedRows
        from pathlib import Path
        import tempfile
        registry, loaded = Registry(load_plugins()), encoders.load(Path(base), mlm_head=False)
        half = len(texts) // 2
        rows = Dataset.from_dict({"sentence1": texts[:half], "sentence2": texts[half : 2 * half], "score": [0.5] * half})
        data = TokenizedRows.of(rows, loaded.tokenizer, 64, "truncate")
        settings = Settings(8, 16, 1e-5, 0.01, 1, 1.0, "fp32", 4096, 10**9, "last")
        built = [registry.build(kind, name) for kind, name in (("objective", "cosine-sts"), ("schedule", "linear"), ("optimizer", "adamw"))]
        module = loaded.module(registry.build("pooler", "mean"))
        start = time.perf_counter()
        train(module, None, built[0], data, loaded.tokenizer, built[1], built[2], settings, None, Context(workdir=Path(tempfile.mkdtemp())))
print(json.dumps(time.perf_counter() - start))
"""

WHATS = ("load", "encode", "train", "plan")


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
