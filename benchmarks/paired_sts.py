"""Is encoder A better than B on an STS file?  The difference of Spearman's rho ×100 with a paired 95 % bootstrap interval.

python benchmarks/paired_sts.py A B FILE…
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from langadapt_evaluators.bootstrap import interval
from langadapt_evaluators.sts import spearman

from langadapt import Encoder
from langadapt.data import tables


def cosines(folder: str, left: list[str], right: list[str]) -> np.ndarray:
    """Cosine of each pair: (n,)."""
    encoder = Encoder.load(folder, device="cpu")
    a, b = encoder.encode(left, normalize=True), encoder.encode(right, normalize=True)
    found: np.ndarray = (a * b).sum(1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("files", nargs="+", type=Path)
    given = parser.parse_args()
    for file in given.files:
        rows = [row for _, row in tables.rows(file)]
        left, right = [row["sentence1"] for row in rows], [row["sentence2"] for row in rows]
        gold = np.array([float(row["score"]) for row in rows])
        x, y = cosines(given.a, left, right), cosines(given.b, left, right)

        def difference(i: np.ndarray, x: np.ndarray = x, y: np.ndarray = y, gold: np.ndarray = gold) -> float:
            return 100 * (spearman(x[i], gold[i]) - spearman(y[i], gold[i]))

        low, high = interval(difference, len(gold), np.random.default_rng(42))
        value = difference(np.arange(len(gold)))
        found = {"file": "/".join(file.parts[-3:]), "n": len(gold), "difference": round(value, 2), "95 %": [round(low, 2), round(high, 2)]}
        print(json.dumps(found))


if __name__ == "__main__":
    main()
