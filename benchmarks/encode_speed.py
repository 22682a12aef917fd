"""Sentences per second of `encode`, side by side with sentence-transformers on the same folder and texts, and the worst cosine.

python benchmarks/encode_speed.py RELEASE TEXTS.txt.gz [--count 2000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

from langadapt import Encoder
from langadapt.data import tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("release")
    parser.add_argument("texts", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    texts = [text for _, (_, text) in zip(range(given.count), tables.lines(given.texts), strict=False)]
    peer = SentenceTransformer(given.release, device="cpu")
    encoders = {"langadapt fp32": Encoder.load(given.release, device="cpu")}
    encoders["langadapt bf16"] = Encoder.load(given.release, device="cpu", precision="bf16")
    seconds: dict[str, list[float]] = {"sentence-transformers fp32": [], **{name: [] for name in encoders}}
    vectors: dict[str, np.ndarray] = {}
    for _ in range(given.rounds):
        start = time.perf_counter()
        vectors["sentence-transformers fp32"] = peer.encode(texts, show_progress_bar=False)
        seconds["sentence-transformers fp32"].append(time.perf_counter() - start)
        for name, encoder in encoders.items():
            start = time.perf_counter()
            vectors[name] = encoder.encode(texts)
            seconds[name].append(time.perf_counter() - start)
    reference = vectors["sentence-transformers fp32"]
    reference = reference / np.linalg.norm(reference, axis=1, keepdims=True)
    result = {}
    for name, found in seconds.items():
        unit = vectors[name] / np.linalg.norm(vectors[name], axis=1, keepdims=True)
        ratios = [a / b for a, b in zip(seconds["sentence-transformers fp32"], found, strict=True)]
        result[name] = {
            "texts per second": [round(len(texts) / s, 1) for s in found],
            "ratio": round(statistics.median(ratios), 2),
            "worst cosine": round(float((unit * reference).sum(1).min()), 6),
        }
    print(json.dumps({"texts": len(texts), "runs": result}, indent=2))


if __name__ == "__main__":
    main()
