"""Whether two systems differ on one test, and which of many do: paired tests, Holm's correction, groups of equals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

FLIPS = 10_000
"""Sign patterns that the permutation test draws."""

LEVEL = 0.05


def permutation_p(ours: np.ndarray, theirs: np.ndarray, flips: int = FLIPS, seed: int = 0) -> float:
    """Two-sided p of the paired permutation test of means: how often random signs of the differences (n,) make as large a mean.

    Fisher 1935; with random patterns, the pattern seen counted among them (Phipson & Smyth 2010).
    """
    differences = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    seen = abs(differences.sum()) - 1e-9 * np.abs(differences).sum()  # sums of the same numbers in another order
    rng = np.random.default_rng(seed)
    as_large, block = 0, max(1, 2_000_000 // len(differences))
    for start in range(0, flips, block):
        count = min(block, flips - start)
        bits = np.unpackbits(np.frombuffer(rng.bytes(count * (-(-len(differences) // 8))), np.uint8).reshape(count, -1), axis=1)
        sums = differences.sum() - 2 * (bits[:, : len(differences)].astype(np.float64) @ differences)
        as_large += int((np.abs(sums) >= seen).sum())
    return (1 + as_large) / (1 + flips)


def bootstrap_p(ours: np.ndarray, theirs: np.ndarray) -> float | None:
    """Two-sided p from values (samples,) on the same bootstrap samples: twice the share on the other side of no difference.

    Where no sample lies there, the tail is that of a normal distribution with the samples' mean and spread: a thousand samples know no p
    below 0.002, which no correction over thirty tests would survive.  None where no sample gave a number.
    """
    differences = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    differences = differences[np.isfinite(differences)]
    if not len(differences):
        return None
    beyond = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    p = min(1.0, 2 * (1 + beyond) / (1 + len(differences)))
    spread = float(differences.std())
    if beyond == 0 and spread > 0:
        p = min(p, math.erfc(abs(float(differences.mean())) / spread / math.sqrt(2)))
    return float(p)


def paired(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[float, Literal["permutation", "bootstrap"]] | None:
    """p and the test that gave it, of two scores of one test; None where they carry nothing to pair.

    Means of items are tested by permutation, everything else on bootstrap samples.

    Args:
        ours, theirs: scores with ``items`` or ``resampled``.
    """
    if _alike(ours, theirs, "items"):
        return permutation_p(ours["items"], theirs["items"]), "permutation"
    if _alike(ours, theirs, "resampled") and (p := bootstrap_p(ours["resampled"], theirs["resampled"])) is not None:
        return p, "bootstrap"
    return None


def _alike(ours: Mapping[str, Any], theirs: Mapping[str, Any], what: str) -> bool:
    one, other = ours.get(what), theirs.get(what)
    return one is not None and other is not None and len(one) == len(other)


def holm(ps: Sequence[float]) -> list[float]:
    """p of many tests, raised so that the chance of any false alarm among them stays what it says (Holm 1979)."""
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    adjusted, highest = [1.0] * len(ps), 0.0
    for place, i in enumerate(order):
        highest = max(highest, min(1.0, ps[i] * (len(ps) - place)))
        adjusted[i] = highest
    return adjusted


def groups(names: Sequence[str], differ: Mapping[tuple[str, str], bool]) -> dict[str, str]:
    """Letters such that two names share one where, and only where, they do not differ (Piepho 2004, insert and absorb).

    Args:
        names: best first, so that ``a`` is of the best.
        differ: for pairs of names, in either order, whether the test tells them apart.
    """
    columns: list[set[str]] = [set(names)]
    for one, other in [pair for pair, yes in differ.items() if yes]:
        split: list[set[str]] = []
        for column in columns:
            split += [column - {one}, column - {other}] if one in column and other in column else [column]
        kept: list[set[str]] = []
        for column in sorted(split, key=len, reverse=True):
            if not any(column <= larger for larger in kept):
                kept.append(column)
        columns = kept
    place = {name: i for i, name in enumerate(names)}
    columns.sort(key=lambda column: sorted(place[name] for name in column))
    letters = "abcdefghijklmnopqrstuvwxyz"
    return {name: "".join(letters[i % 26] for i, column in enumerate(columns) if name in column) for name in names}
