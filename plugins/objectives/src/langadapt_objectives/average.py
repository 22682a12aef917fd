"""The mean of several encoders' weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from langadapt.contracts import Merger
from langadapt.errors import ModelError

if TYPE_CHECKING:
    import torch


class Average(Merger):
    """The weighted mean of all weights (model soups; Wortsman et al. 2022, arXiv:2203.05482).

    Encoders that were trained from one base with other seeds, data or rates average to one that is often better than each.
    """

    name: ClassVar[str] = "average"

    shares: list[Annotated[float, Field(ge=0)]] | None = None
    """One number an encoder, in their order; None gives all the same."""

    def merge(self, weights: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        shares = self.shares or [1.0] * len(weights)
        if len(shares) != len(weights) or sum(shares) <= 0:
            raise ModelError(f"{len(shares)} shares are given for {len(weights)} encoders", hint="Give each its share, one above 0.")
        whole = sum(shares)
        return {
            name: sum(one[name] * (share / whole) for one, share in zip(weights, shares, strict=True)).to(first.dtype)  # type: ignore[union-attr]
            if first.is_floating_point()
            else first
            for name, first in weights[0].items()
        }
