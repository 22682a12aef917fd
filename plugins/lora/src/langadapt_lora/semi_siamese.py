"""One LoRA of attention with a shared and a divided half: queries and documents are read with a limited difference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from langadapt.errors import ModelError
from langadapt_lora.targets import find_targets
from langadapt_lora.twin_lora import TwinLora, inside

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SPREAD = 0.02
"""Standard deviation of the first factors in the authors' code."""


class SemiSiamese(TwinLora):
    """LoRA on the query and value projections of attention: one of the two is common to both readers, the other is each one's own.

    Semi-Siamese LoRA (Jung, Choi & Rhee 2022, arXiv:2110.14943; xlpczv/Semi_Siamese, commit 3b63f94).  The paper shares the queries'
    update and gives queries and documents values of their own (its ``hv`` models); ``shared: value`` is its ``hq``.  Defaults are
    the authors': rank 16, first factors drawn from N(0, 0.02²), dropout 0.1, and a scale of one half: their code multiplies by
    rank/alpha = 16/32 where LoRA multiplies by alpha/rank, so `alpha` is 8 here.  `output` adds what the paper calls LoRA+, an update of
    attention's output that both readers share.  Prefixes with a common and a divided half are
    ``semi-siamese-prefix``, and hybrids of both, one after the other, ``semi-siamese-hybrid``.

    Each role is saved whole, so either serves as an adapter of its own.
    """

    name: ClassVar[str] = "semi-siamese"
    version: ClassVar[str] = "2"

    r: Annotated[int, Field(ge=1)] = 16
    alpha: Annotated[float, Field(gt=0)] = 8.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    shared: Literal["query", "value"] = "query"
    """The projection whose update both readers share."""
    output: bool = False
    """LoRA+: one update more in each block, of attention's output, common to both readers, of the same rank, scale and dropout."""
    targets: Literal["query-value"] = "query-value"  # type: ignore[assignment]
    """Fixed: what the paper adapts."""

    def attach(self, model: PreTrainedModel) -> None:
        from torch import nn

        super().attach(model)
        for _, module in _adapted(model):
            for first in module.lora_A.values():
                nn.init.normal_(first.weight, std=SPREAD)
        self._share(model)

    def load(self, model: PreTrainedModel, folder: Path) -> None:
        super().load(model, folder)
        self._share(model, folder)

    def config(self, model: PreTrainedModel) -> Any:
        """peft's configuration for a model.

        Raises:
            ModelError: an architecture without known targets, or one that makes queries and values in a single projection.
        """
        return self.config_of([*self._ends(model).values()])

    def _ends(self, model: PreTrainedModel) -> dict[str, str]:
        """How the names of the projections end that get an update, by what they do."""
        found = find_targets(model)
        if not found.keys_values:
            raise ModelError(
                f"'{model.config.model_type}' makes queries, keys and values in one projection, of which no half can be shared",
                hint="Take 'twin-lora', which shares nothing.",
            )
        ends = {"query": found.queries[0], "value": found.keys_values[-1]}
        return {**ends, "output": found.rest[0]} if self.output else ends

    def _share(self, model: PreTrainedModel, folder: Path | None = None) -> None:
        """Let both roles have one and the same update where it is common.

        Raises:
            ModelError: the folder's roles have different ones.
        """
        import torch

        common = tuple(end for does, end in self._ends(model).items() if does in (self.shared, "output"))
        for name, module in _adapted(model):
            if not name.endswith(common):
                continue
            for part in (module.lora_A, module.lora_B, module.lora_magnitude_vector):
                if len(part) == 0:
                    continue
                first, second = (part[inside(role)] for role in self.roles)
                if folder is not None and not all(map(torch.equal, first.parameters(), second.parameters())):
                    raise ModelError(f"the roles' updates of '{name}' differ, and they are meant to be one", where=str(folder))
                part[inside(self.roles[1])] = first


def _adapted(model: PreTrainedModel) -> list[tuple[str, Any]]:
    """Layers with an update, by name."""
    from peft.tuners.lora import LoraLayer

    return [(name, module) for name, module in model.base_model.named_modules() if isinstance(module, LoraLayer)]
