"""Groups of sequences of similar length: what makes a padded forward pass cheap.

Random batches of 32 sentences pad two to three times their real tokens; sorted by length and cut where the
padding grows, a few per cent.
"""

from __future__ import annotations

from collections.abc import Sequence

WASTE = 0.08
"""Padding, as a share of real tokens, at which a new group is worth a forward pass of its own."""

SMALLEST = 192
"""Real tokens below which a group is not cut: a forward pass has fixed costs."""


def group_by_length(lengths: Sequence[int], budget: int, waste: float = WASTE, smallest: int = SMALLEST) -> list[list[int]]:
    """Indices in groups to pad together, longest sequences first, ties in the given order.

    Args:
        lengths: tokens per sequence.
        budget: padded tokens (rows × longest) in one group; a longer sequence stands alone.
        waste: padding share at which a group of at least `smallest` real tokens is closed.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    groups: list[list[int]] = []
    longest = real = 0
    for i in order:
        if groups:
            padded = longest * (len(groups[-1]) + 1)
            too_much = real >= smallest and padded - real - lengths[i] > waste * (real + lengths[i])
            if padded <= budget and not too_much:
                groups[-1].append(i)
                real += lengths[i]
                continue
        groups.append([i])
        longest, real = max(lengths[i], 1), lengths[i]
    return groups
