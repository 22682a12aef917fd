"""What a stage is given: its plan entry, the folders of its inputs, a folder to fill and a context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langadapt.artifacts import adapter as adapters
from langadapt.artifacts import encoder as encoders
from langadapt.artifacts import scorer as scorers
from langadapt.artifacts.encoder import LoadedEncoder
from langadapt.contracts.component import Context
from langadapt.contracts.encoder import Embeds, Scores
from langadapt.contracts.training import LightAdaptation
from langadapt.contracts.vectors import Pooler
from langadapt.inference.by_role import ByRole
from langadapt.inference.encoder import Encoder
from langadapt.inference.scorer import Scorer
from langadapt.registry.registry import Registry
from langadapt.release.merging import merged, servable

if TYPE_CHECKING:
    from langadapt.contracts.plan import PlannedStage


@dataclass(frozen=True)
class Job:
    """One stage to run."""

    planned: PlannedStage
    inputs: Mapping[str, list[Path]]
    folder: Path
    ctx: Context
    registry: Registry

    @property
    def stage(self) -> Any:
        return self.planned.stage

    def slot(self, name: str) -> Any:
        """The component (or list of components) in a slot; None when the slot is empty."""
        return self.planned.slots.get(name)

    def one(self, role: str) -> Path | None:
        """The folder of an input that takes one artifact."""
        found = self.inputs.get(role)
        return found[0] if found else None

    def need(self, role: str) -> Path:
        """The folder of an input that the recipe had to name."""
        return self.inputs[role][0]

    def encoder(self, role: str, mlm_head: bool | None = None) -> LoadedEncoder:
        """Load an input encoder; one that is an adapter on a base comes merged into it.

        Raises:
            ModelError: its adapter cannot be merged.
        """
        return self.whole(self.need(role), mlm_head)

    def whole(self, folder: Path, mlm_head: bool | None = None) -> LoadedEncoder:
        """As :meth:`encoder`, by its folder."""
        return merged(folder) if adapters.is_adapter(folder) else encoders.load(folder, mlm_head)

    def teacher(self, folder: Path, mlm_head: bool = False) -> Embeds | Scores:
        """An input that computes something: an encoder or a scorer."""
        if scorers.is_scorer(folder):
            return Scorer.load(folder, device=self.ctx.device, normalizer=self.slot("normalizer"))
        return self.inference(folder, mlm_head)

    def pooler(self, loaded: LoadedEncoder) -> Pooler:
        """The pooler that an encoder's settings name."""
        return self.registry.make(Pooler, loaded.settings.pooler)

    def inference(self, folder: Path, mlm_head: bool = False) -> Encoder:
        """An input encoder behind the stage's normalizer; an adapter that the bank cannot serve runs in its own library."""
        if adapters.is_adapter(folder) and not servable(folder):
            return self._in_its_library(folder)
        options = {"registry": self.registry, "device": self.ctx.device, "normalizer": self.slot("normalizer")}
        return Encoder.load(folder, mlm_head=mlm_head, **options)

    def _in_its_library(self, folder: Path) -> Encoder:
        record = adapters.load(folder)
        adaptation = self.registry.make(LightAdaptation, record.adaptation)
        loaded = encoders.load(adapters.base_folder(folder), mlm_head=False, options=adaptation.load_options(self.ctx.device))
        loaded.settings, _ = encoders.read_settings(folder)
        adaptation.load(loaded.model, folder)
        module = loaded.module(self.pooler(loaded))
        module = (module if record.quantization else module.to(self.ctx.device)).eval()
        if not record.roles:
            return Encoder(loaded, module, self.slot("normalizer"))
        return ByRole(loaded, module, self.slot("normalizer"), record.roles, partial(adaptation.activate, loaded.model))
