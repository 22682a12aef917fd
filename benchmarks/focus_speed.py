"""FOCUS for many new tokens: our sparse products against the row loop of the package deepfocus (1.0.1), on the same random static space.

    pip install deepfocus            # or, without its compiled dependency: pip install --no-deps deepfocus entmax fastdist numba fasttext
    python benchmarks/focus_speed.py --new 30000 --shared 10000

Both get the vectors; training or loading the static space is left out.  One process, interleaved, `--threads` for
both: the package's loop compares one token with all anchors at a time and has little use for a second one.
"""

from __future__ import annotations

import argparse
import logging
import resource
import time
from typing import Any

import numpy as np
import torch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--new", type=int, default=30_000)
    parser.add_argument("--shared", type=int, default=10_000)
    parser.add_argument("--dimensions", type=int, default=300)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(0)
    # Clustered, as words are: purely random vectors are all equally far apart.
    centres = rng.standard_normal((200, options.dimensions))
    anchors, queries = (
        unit(centres[rng.integers(200, size=n)] + rng.standard_normal((n, options.dimensions))) for n in (options.shared, options.new)
    )
    rows = rng.standard_normal((options.shared, options.width)).astype(np.float32)
    theirs(queries[:10], anchors[:10], rows[:10])  # compiles its distances
    for _ in range(options.rounds):
        before = peak()
        start = time.perf_counter()
        found = ours(queries, anchors, rows)
        seconds = time.perf_counter() - start
        print(f"langadapt: {seconds:.1f} s, peak memory + {peak() - before:.0f} MB")
        start = time.perf_counter()
        wanted = theirs(queries, anchors, rows)
        other = time.perf_counter() - start
        print(f"deepfocus: {other:.1f} s, peak memory + {peak() - before:.0f} MB; {other / seconds:.1f} × ours")
        print(f"largest difference of a row's entry: {np.abs(found - wanted).max():.1e}", flush=True)


def unit(vectors: np.ndarray) -> np.ndarray:
    found: np.ndarray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return found


def ours(queries: np.ndarray, anchors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    from langadapt_vocab.focus import sparsemax_weights

    found: np.ndarray = sparsemax_weights(queries, anchors) @ rows
    return found


def theirs(queries: np.ndarray, anchors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The package's own function, given tokens as it makes them."""
    from deepfocus.focus import focus_additional_token_initialization
    from deepfocus.vocab_helper import NewToken, OverlappingToken, TokenClass

    logging.getLogger("deepfocus").setLevel(logging.ERROR)

    def token(number: int) -> Any:
        return TokenClass(str(number), number, "", "", "", "", False)

    shared = {str(i): OverlappingToken([token(i)], token(i), torch.from_numpy(rows[i]), anchors[i]) for i in range(len(anchors))}
    new = {str(i): NewToken(token(i), queries[i]) for i in range(len(queries))}
    table = torch.zeros(len(queries), rows.shape[1])
    found: np.ndarray = focus_additional_token_initialization(shared, new, table, "cpu").numpy()
    return found


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
