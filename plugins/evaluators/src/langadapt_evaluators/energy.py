"""What encoding costs: energy and time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from langadapt.contracts import Context, Evaluator, Resource, Score
from langadapt.contracts.measuring import Meter
from langadapt.errors import DataError
from langadapt_evaluators.bootstrap import of_runs
from langadapt_evaluators.isotropy import read_texts

if TYPE_CHECKING:
    from langadapt.contracts import Embeds

WARM = 32
"""Texts encoded before anything is measured."""


class Energy(Evaluator):
    """Joules for a thousand texts, and texts a second, of the base's forward passes on this machine, as it is loaded now.

    Energy is what the processor (RAPL) and the graphics cards (NVML) counted meanwhile, other work on them included.  Where neither can be
    read the metric says ``estimated``: core-seconds × `watts` / cores, the processor's rated power shared among its cores (what
    CodeCarbon falls back on: Courty et al., doi 10.5281/zenodo.4658424; its 85 W for a processor it does not know is the default here).

    The interval is Student's t over `repeats`, none for one.  Adapters are not measured: merge them first.  Figures of two machines,
    or of one that was busy, cannot be compared.
    """

    name: ClassVar[str] = "energy"

    data: Resource
    task: str = ""
    texts: Annotated[int, Field(ge=50)] = 1000
    repeats: Annotated[int, Field(ge=1)] = 3
    watts: Annotated[float, Field(gt=0)] = 85.0

    @property
    def test_data(self) -> Resource:
        return self.data

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        lines = list(dict.fromkeys(read_texts(self.data, ctx)))
        chosen = [lines[i] for i in ctx.rng("texts whose cost is measured").permutation(len(lines))[: self.texts]]
        if len(chosen) < WARM:
            raise DataError(f"{len(chosen)} texts are too few to measure anything by", where=self.data.name)
        fresh = encoder.at_layer(encoder.layers)  # reads every text anew, whatever other tasks have read
        fresh.encode(chosen[:WARM], normalize=True)
        spent = []
        for _ in ctx.log.track(range(self.repeats), "measuring", self.repeats):
            meter = Meter(fresh_peak=False)
            fresh.encode(chosen, normalize=True)
            spent.append(meter.read())
        counted = any("joules" in one or "gpu_joules" in one for one in spent)
        per_core = self.watts / (os.cpu_count() or 1)
        joules = [
            1000 / len(chosen) * (one.get("joules", 0) + one.get("gpu_joules", 0) if counted else one["core_seconds"] * per_core)
            for one in spent
        ]
        speeds = [len(chosen) / max(one["seconds"], 1e-3) for one in spent]
        task, n = self.task or self.data.name, len(chosen)
        metric = "energy" if counted else "energy, estimated"
        return [
            Score(task, metric, float(np.mean(joules)), *of_runs(np.array(joules)), n, "J / 1,000 texts", False),
            Score(task, "speed", float(np.mean(speeds)), *of_runs(np.array(speeds)), n, "texts / s"),
        ]
