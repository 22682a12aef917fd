"""Words read from both ends against plain WordPiece: the same vocabulary, the same texts, one thread, interleaved rounds.

python benchmarks/bidirectional_speed.py TEXTS.txt
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from langadapt.artifacts.tables import lines
from langadapt.registry.component import Context
from langadapt.registry.plugins import load_plugins
from langadapt.registry.registry import Registry


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", type=Path)
    parser.add_argument("--vocab-size", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    texts = [text for _, text in lines(options.texts)]
    train, held = texts[: len(texts) // 2], texts[len(texts) // 2 :]
    registry = Registry(load_plugins())
    made: dict[str, Any] = {}
    for name in ("wordpiece", "bidirectional-wordpiece"):
        trainer: Any = registry.build("tokenizer", {"use": name, "vocab_size": options.vocab_size})
        made[name] = trainer.train(train, None, Context()).backend_tokenizer
    times: dict[str, list[float]] = {name: [] for name in made}
    first: dict[str, float] = {}
    for number in range(options.rounds + 1):
        for name, backend in made.items():
            start = time.perf_counter()
            backend.encode_batch_fast(held)
            seconds = time.perf_counter() - start
            if number:
                times[name].append(seconds)
            else:
                first[name] = seconds
    plain, both = times["wordpiece"], times["bidirectional-wordpiece"]
    ratios = [b / a for a, b in zip(plain, both, strict=True)]
    print(f"{len(held):,} texts, {sum(map(len, held)) / 1e6:.2f} M characters")
    print(f"first pass, no word known: {first['bidirectional-wordpiece'] / first['wordpiece']:.2f} × plain")
    print(f"later passes: {statistics.median(ratios):.2f} × plain ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
