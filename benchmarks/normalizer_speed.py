"""Megabytes a second that normalizers take on real text, one core each.

    python benchmarks/normalizer_speed.py NORMALIZER=TEXTS [NORMALIZER=TEXTS …] [--rounds 5]

A normalizer is a name or a slot: ``'{use: twitter, repeats: 3}=tweets.txt.gz'``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from langadapt.cli.options import slot
from langadapt.data import tables
from langadapt.registry.plugins import load_plugins
from langadapt.registry.registry import Registry


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    registry = Registry(load_plugins())
    for pair in given.pairs:
        name, _, path = pair.rpartition("=")
        normalizer: Any = registry.build("normalizer", slot(name) or name)
        texts = [text for _, text in tables.lines(Path(path))]
        size = sum(len(text.encode()) for text in texts) / 1e6
        rates = []
        for _ in range(given.rounds):
            start = time.process_time()
            for text in texts:
                normalizer.normalize(text)
            rates.append(size / (time.process_time() - start))
        print(f"| {name} | {Path(path).name}, {size:.1f} MB | {statistics.median(rates):.1f} [{min(rates):.1f}, {max(rates):.1f}] |")


if __name__ == "__main__":
    main()
