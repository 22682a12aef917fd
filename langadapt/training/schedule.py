"""Learning-rate schedules of the core."""

from __future__ import annotations

from typing import ClassVar

from langadapt.contracts.training import Schedule


class Linear(Schedule):
    """Rise from zero over the warm-up, then fall linearly to zero (Devlin et al. 2019, arXiv:1810.04805)."""

    name: ClassVar[str] = "linear"

    def factor(self, step: int, steps: int, warmup: int) -> float:
        if step < warmup:
            return (step + 1) / max(1, warmup)
        return max(0.0, (steps - step) / max(1, steps - warmup))


class Constant(Schedule):
    """Rise from zero over the warm-up, then stay."""

    name: ClassVar[str] = "constant"

    def factor(self, step: int, steps: int, warmup: int) -> float:
        return min(1.0, (step + 1) / max(1, warmup)) if warmup else 1.0
