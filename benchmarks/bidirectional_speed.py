"""Words read from both ends against plain WordPiece: the same vocabulary, the same texts, interleaved rounds.

    python benchmarks/bidirectional_speed.py TEXTS.txt

Trained on the first half of the texts and measured on the second (or both on all, --whole), with the Rust tokenizer's threads and
without, cold (no word met before; making the reader counts) and warm (the same texts again).  A Markdown table is printed; the ratio's
median stands with the lowest and highest of the rounds.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langadapt.contracts.component import Context
from langadapt.data.tables import lines
from langadapt.modeling.token_ids import token_ids
from langadapt.registry.plugins import load_plugins
from langadapt.registry.registry import Registry


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", type=Path)
    parser.add_argument("--vocab-size", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--whole", action="store_true", help="train on all texts and measure on all")
    parser.add_argument("--measure", action="store_true", help="measure in this process and print JSON")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(options)))
        return
    print("| call | threads | words | plain, M characters/s | both ends, M characters/s | time over plain |")
    print("| --- | --- | --- | --- | --- | --- |")
    for threads, setting in ((os.cpu_count() or 1, "true"), (1, "false")):
        command = [sys.executable, __file__, str(options.texts), "--vocab-size", str(options.vocab_size)]
        command += ["--rounds", str(options.rounds), "--measure", *(["--whole"] if options.whole else [])]
        environment = {**os.environ, "TOKENIZERS_PARALLELISM": setting}
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        for call, states in found["seconds"].items():
            for state, (plain, both) in states.items():
                ratios = sorted(b / a for a, b in zip(plain, both, strict=True))
                speeds = [found["characters"] / 1e6 / statistics.median(seconds) for seconds in (plain, both)]
                shown = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
                print(f"| {call} | {threads} | {state} | {speeds[0]:.2f} | {speeds[1]:.2f} | {shown} |", flush=True)


def measured(options: Any) -> dict[str, Any]:
    """Seconds of plain WordPiece and of both ends, round by round, of each call, cold and warm."""
    texts = [text for _, text in lines(options.texts)]
    half = len(texts) // 2
    train, read = (texts, texts) if options.whole else (texts[:half], texts[half:])
    registry = Registry(load_plugins())
    made: list[Any] = []
    for name in ("wordpiece", "bidirectional-wordpiece"):
        trainer: Any = registry.build("tokenizer", {"use": name, "vocab_size": options.vocab_size})
        made.append(trainer.train(train, None, Context()))
    times: dict[str, dict[str, list[list[float]]]] = {call: {"cold": [[], []], "warm": [[], []]} for call in CALLS}
    for _ in range(options.rounds):
        for call, function in CALLS.items():
            for side, tokenizer in enumerate(made):
                fresh = copy.deepcopy(tokenizer)  # has met no word
                for state in ("cold", "warm"):
                    start = time.perf_counter()
                    function(fresh, read)
                    times[call][state][side].append(time.perf_counter() - start)
    return {"seconds": times, "characters": sum(map(len, read))}


CALLS: dict[str, Callable[[Any, list[str]], Any]] = {
    "`token_ids`": token_ids,
    "`tokenizer(texts)`": lambda tokenizer, texts: tokenizer(texts),
}
"""What training, serving and surgery call, and what transformers offers (offsets and words besides ids)."""


if __name__ == "__main__":
    main()
