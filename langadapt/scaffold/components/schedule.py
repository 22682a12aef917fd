"""The learning rate over time."""

from __future__ import annotations

from typing import ClassVar

from langadapt.contracts import Schedule


class Example(Schedule):
    """Up in the warm-up, then with the square root of the step down (Vaswani et al. 2017, arXiv:1706.03762)."""

    name: ClassVar[str] = "example"

    def factor(self, step: int, steps: int, warmup: int) -> float:
        first = max(1, warmup)
        return float(min((step + 1) / first, (first / (step + 1)) ** 0.5))
