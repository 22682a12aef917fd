"""(IA)³: keys, values and the feed-forward layer's inner activations, each times a learnt vector."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from langadapt.contracts import LightAdaptation
from langadapt_lora import library
from langadapt_lora.lora import NAME
from langadapt_lora.targets import find_targets

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Ia3(LightAdaptation):
    """Infused adapter by inhibiting and amplifying inner activations (Liu et al. 2022, arXiv:2205.05638).

    Where keys and values share a matrix with the queries, the whole of it is scaled.  Wants a high learning rate (1e-3 and more).
    """

    name: ClassVar[str] = "ia3"
    mergeable: ClassVar[bool] = True
    library: ClassVar[str] = "peft"

    def attach(self, model: PreTrainedModel) -> None:
        from peft import IA3Config

        found = find_targets(model)
        forward = list(found.forward_out)
        # "output.dense" ends "attention.output.dense" too, which (IA)³ leaves alone.
        others = [name for name in found.rest if name not in forward and name.endswith(tuple(f".{one}" for one in forward))]
        config = IA3Config(
            target_modules=[*(found.keys_values or found.queries), *forward], exclude_modules=others or None, feedforward_modules=forward
        )
        model.requires_grad_(False)
        library.inject(model, config, NAME)

    def save(self, model: PreTrainedModel, folder: Path) -> None:
        library.save(model, NAME, folder)

    def load(self, model: PreTrainedModel, folder: Path) -> None:
        model.requires_grad_(False)
        library.restore(model, NAME, folder)
