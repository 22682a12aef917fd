"""Learning-rate schedules of the core."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field

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


class Cosine(Schedule):
    """Rise from zero over the warm-up, then fall along half a cosine to `floor` (Loshchilov & Hutter 2017, arXiv:1608.03983; one period,
    no restarts).
    """

    name: ClassVar[str] = "cosine"

    floor: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the full rate at the end."""

    def factor(self, step: int, steps: int, warmup: int) -> float:
        if step < warmup:
            return (step + 1) / max(1, warmup)
        done = min(1.0, (step - warmup) / max(1, steps - warmup))
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2


class WarmupStableDecay(Schedule):
    """Rise from zero over the warm-up, stay, and fall to zero over the last `decay` of the steps.

    Hu et al. 2024 (MiniCPM, arXiv:2404.06395); the fall as a square root: Hägele et al. 2024 (arXiv:2405.18392), who find it better than a
    line.  What stands before the fall can be trained on for longer without a new plan of the rate.
    """

    name: ClassVar[str] = "wsd"

    decay: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Share of the steps over which it falls."""
    shape: Literal["sqrt", "linear"] = "sqrt"
    """``sqrt``: 1 − √t over the fall; ``linear``: 1 − t."""

    def factor(self, step: int, steps: int, warmup: int) -> float:
        if step < warmup:
            return (step + 1) / max(1, warmup)
        length = max(1, min(round(self.decay * steps), steps - warmup))
        fallen = max(0.0, (step - (steps - length)) / length)
        return max(0.0, 1 - (math.sqrt(fallen) if self.shape == "sqrt" else fallen))
