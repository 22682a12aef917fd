"""Token states become a vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from langadapt.contracts import EncoderSpec, Pooler, States

if TYPE_CHECKING:
    import torch


class Example(Pooler):
    """Mean and maximum over a text's own tokens, one behind the other: (B, 2d)."""

    name: ClassVar[str] = "example"

    def width(self, spec: EncoderSpec) -> int:
        return 2 * spec.width

    def pool(self, states: States, weights: Any = None) -> torch.Tensor:
        import torch

        mask = states.mask[:, :, None].bool()  # padding is nobody's token
        mean = states.last.masked_fill(~mask, 0.0).sum(1) / mask.sum(1)
        most = states.last.masked_fill(~mask, float("-inf")).amax(1)
        return torch.cat([mean, most], dim=1).float()
