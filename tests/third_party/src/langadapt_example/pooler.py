"""mean-and-max: two poolings of a text, one after the other."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from langadapt.contracts import EncoderSpec, Pooler, States


class MeanAndMax(Pooler):
    """Mean and maximum over the real tokens' states, (B, 2d)."""

    name: ClassVar[str] = "mean-and-max"

    def width(self, spec: EncoderSpec) -> int:
        return 2 * spec.width

    def pool(self, states: States, weights: Any = None) -> torch.Tensor:
        mask = states.mask[:, :, None].bool()
        mean = states.last.masked_fill(~mask, 0.0).sum(1) / mask.sum(1)
        most = states.last.masked_fill(~mask, float("-inf")).amax(1)
        return torch.cat([mean, most], dim=1).float()
