"""Prefix tuning: learned keys and values that every token attends to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from langadapt.contracts import LightAdaptation
from langadapt_adapters.folders import PREFIX
from langadapt_adapters.library import NAME, load_plain, place, prepare, save_plain, train_only

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Prefix(LightAdaptation):
    """Train `length` keys and values per layer that stand before every sentence (Li & Liang 2021, arXiv:2101.00190).

    They are made from `length` embeddings by a two-layer network, which trains more steadily than the keys and values
    themselves and is saved with them; with `flat` they are the weights.  The prefix costs time in every forward pass.

    Architectures: BERT, RoBERTa and XLM-R.  In others the library's attention never sees the prefix, and they are refused.

    Relations: `bottleneck` changes the states after a block instead, costs less time and works everywhere.
    """

    name: ClassVar[str] = "prefix"
    mergeable: ClassVar[bool] = False
    library: ClassVar[str] = "adapters"

    length: Annotated[int, Field(ge=1)] = 30
    """Positions of the prefix."""
    bottleneck_size: Annotated[int, Field(ge=1)] = 512
    """Width of the network's hidden layer; without meaning when `flat`."""
    flat: bool = False
    """Train keys and values directly: length × layers × 2 × d weights."""

    def attach(self, model: PreTrainedModel) -> None:
        from adapters import PrefixTuningConfig

        prepare(model, PREFIX)
        model.add_adapter(NAME, config=PrefixTuningConfig(prefix_length=self.length, bottleneck_size=self.bottleneck_size, flat=self.flat))
        place(model)
        train_only(model, NAME)

    def save(self, model: PreTrainedModel, folder: Path) -> None:
        save_plain(model, folder)

    def load(self, model: PreTrainedModel, folder: Path) -> None:
        prepare(model, PREFIX)
        load_plain(model, folder, PREFIX)
        train_only(model, NAME)
