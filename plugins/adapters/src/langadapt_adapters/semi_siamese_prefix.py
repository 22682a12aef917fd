"""Prefixes for queries and for documents, made of a common and a divided half."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from langadapt.contracts import LightAdaptation
from langadapt.errors import ModelError
from langadapt_adapters.folders import PREFIX
from langadapt_adapters.library import load_plain, place, prepare, save_plain

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


class SemiSiamesePrefix(LightAdaptation):
    """Train `length` keys and values per layer for each reader, the sum of a common network's and of the reader's own.

    Semi-Siamese prefix tuning (Jung, Choi & Rhee 2022, arXiv:2110.14943; xlpczv/Semi_Siamese, commit 3b63f94, models ``p2…``): from
    `length` learnt embeddings, drawn with the mean and deviation of the word embeddings, three networks d → `bottleneck_size` → ReLU →
    2·L·d make prefixes; a reader's is the common one plus its own.  As in the authors' code, the first half of the embeddings makes keys
    and the second half values, two positions each.  `shared: all` is their ``p0`` (one prefix for both), `none` their ``p``, which they
    give half as many positions.  The paper puts prefixes before the states that go into attention; its public code, and this, before keys
    and values.  Their `ptune_start` is not here: every layer has a prefix, as in their scripts.

    What is saved are the prefixes, each as the library `adapters` reads it (``flat``); training that goes on from them trains the
    keys and values themselves.

    Architectures: BERT, RoBERTa and XLM-R, as `prefix`.
    """

    name: ClassVar[str] = "semi-siamese-prefix"
    mergeable: ClassVar[bool] = False
    library: ClassVar[str] = "adapters"
    roles: ClassVar[tuple[str, ...]] = ("query", "document")

    length: Annotated[int, Field(ge=2, multiple_of=2)] = 10
    """Positions of a prefix."""
    bottleneck_size: Annotated[int, Field(ge=1)] = 256
    """Width of the networks' hidden layer."""
    shared: Literal["half", "all", "none"] = "half"
    """``half``: a common network and one for each reader; ``all``: a common one alone; ``none``: one for each reader."""

    def attach(self, model: PreTrainedModel) -> None:
        import torch
        from adapters import PrefixTuningConfig
        from torch.nn.utils import parametrize

        prepare(model, PREFIX)
        for role in self.roles:
            model.add_adapter(inside(role), config=PrefixTuningConfig(prefix_length=self.length, flat=True))
            place(model, inside(role))
        model.requires_grad_(False)
        words = model.get_input_embeddings().weight.detach().float()
        options = {"device": model.device, "dtype": model.dtype}
        theta = torch.nn.Parameter(torch.normal(float(words.mean()), float(words.std()), (self.length, words.shape[1])).to(**options))
        common = self._network(model) if self.shared != "none" else None
        for role in self.roles:
            own = self._network(model) if self.shared != "all" else None
            made = _made(theta, [one for one in (common, own) if one is not None])
            parametrize.register_parametrization(_flat(model, role), "control_trans", made, unsafe=True)
            _flat(model, role).get_parameter("parametrizations.control_trans.original").requires_grad_(False)
        self.activate(model, self.roles[0])

    def _network(self, model: PreTrainedModel) -> nn.Module:
        from torch import nn

        width, layers = model.config.hidden_size, model.config.num_hidden_layers
        network = nn.Sequential(nn.Linear(width, self.bottleneck_size), nn.ReLU(), nn.Linear(self.bottleneck_size, 2 * layers * width))
        return network.to(device=model.device, dtype=model.dtype)

    def activate(self, model: PreTrainedModel, role: str) -> None:
        """Let the prefix of one role act.

        Raises:
            ModelError: training with gradient checkpointing, which runs forward passes again after another role was activated.
        """
        if model.training and model.is_gradient_checkpointing:
            raise ModelError(
                f"'{self.name}' cannot be trained with gradient_checkpointing: what is computed again would meet the other role's prefix",
                hint="Switch gradient_checkpointing off.",
            )
        model.set_active_adapters(inside(role))

    def save(self, model: PreTrainedModel, folder: Path) -> None:
        for role in self.roles:
            save_plain(model, folder / role, inside(role))

    def load(self, model: PreTrainedModel, folder: Path) -> None:
        prepare(model, PREFIX)
        for role in self.roles:
            load_plain(model, folder / role, PREFIX, inside(role))
        model.requires_grad_(False)
        for role in self.roles:
            _flat(model, role).requires_grad_(True)
        self.activate(model, self.roles[0])


def inside(role: str) -> str:
    """What the library calls a role's prefix: its names of weights are searched for the adapter's, and many a base has a ``query``."""
    return f"role_{role}"


def _flat(model: PreTrainedModel, role: str) -> nn.Module:
    """The library's module that holds a role's keys and values."""
    (found,) = model.base_model.prefix_tuning.prefix_tunings[inside(role)].values()  # type: ignore[union-attr,index,operator]
    return found  # type: ignore[no-any-return]


def _made(theta: nn.Parameter, networks: list[nn.Module]) -> nn.Module:
    """A parametrisation that gives the library's row of keys and values, whatever it had before."""
    import torch
    from torch import nn

    class Made(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.theta, self.networks = theta, nn.ModuleList(networks)

        def forward(self, before: torch.Tensor) -> torch.Tensor:
            length, width = self.theta.shape
            given = torch.stack([network(self.theta) for network in self.networks]).sum(0)
            halves = given.view(2, length, -1, width)  # keys, values; a position of either is half of what an embedding gives
            return halves.permute(1, 2, 0, 3).reshape(-1)  # as the library has them: position, layer, key or value, d

    return Made()
