"""Training with a light adaptation: the base stays where it is, the stage's artifact is the adapter alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch

from langadapt.artifacts import adapter as adapters
from langadapt.artifacts import encoder as encoders
from langadapt.artifacts.encoder import LoadedEncoder
from langadapt.contracts.training import LightAdaptation
from langadapt.errors import ModelError
from langadapt.modeling.digest import weights_digest
from langadapt.modeling.encoder import EncoderModule
from langadapt.modeling.loading import keep_unpacked
from langadapt.training.tokenized import TokenizedRows
from langadapt.verbs.job import Job

CENTROID_TEXTS = 1000
"""Training texts whose mean vector a router knows an adapter by."""


@dataclass
class Light:
    """A base, the adaptation that changes it, and where an earlier stage left off."""

    job: Job
    base: LoadedEncoder
    folder: Path
    """The base's folder."""
    parameters: int
    earlier: Path | None = None
    """The adapter of the stage before, which training continues."""
    centroid: np.ndarray | None = None
    """(d,) mean unit vector of training texts under the plain base."""

    @cached_property
    def digest(self) -> str:
        """The base's, which everything trained on it must share."""
        return weights_digest(self.folder)

    @classmethod
    def of(cls, job: Job) -> Light:
        """Load the base that the stage's input is, or that its adapter stands on.

        Raises:
            ModelError: the input is an adapter of another adaptation.
        """
        source, adaptation = job.need("encoder"), job.slot("adaptation")
        earlier = source if adapters.is_adapter(source) else None
        if earlier is not None and (before := adapters.load(earlier).adaptation) != adaptation.slot():
            raise ModelError(
                f"the encoder carries an adapter of '{before['use']}', and this stage trains '{adaptation.name}' (or other options of it)",
                where=job.planned.where,
                hint="Continue with the same adaptation, or start from the base.",
            )
        folder = adapters.base_folder(source) if earlier else source
        options = adaptation.load_options(job.ctx.device)
        loaded = encoders.load(folder, bool(job.slot("objective").needs_mlm_head), options)
        if earlier:
            loaded.settings, _ = encoders.read_settings(earlier)
        if getattr(loaded.model, "is_quantized", False):
            keep_unpacked(loaded.model)  # the centroid is found in evaluation, before training
        # A quantised weight holds two to four values an element: count what they stand for.
        parameters = adapters.load(earlier).base.parameters if earlier else _parameters(folder)
        return cls(job, loaded, folder, parameters, earlier)

    def attach(self, encoder: EncoderModule, rows: TokenizedRows) -> None:
        """Find the centroid under the plain base, then add the trainable modules.

        Raises:
            ModelError: the adaptation builds on adapters of another base, or does not fit this one.
        """
        adaptation: LightAdaptation = self.job.slot("adaptation")
        if encoder.pooling is not None or encoder.pooler.gives != "dense":
            raise ModelError(
                f"'{encoder.pooler.name}' has weights of its own or gives a vector a token, which '{adaptation.name}' cannot go beside",
                where=self.job.planned.where,
                hint="Train with {adaptation: full}, or pool by mean.",
            )
        adaptation.check_base(self.digest)
        chosen = self.job.ctx.rng("centroid").permutation(len(rows))[:CENTROID_TEXTS]
        sample = [list(rows.texts_of(int(i))[0]) for i in sorted(chosen)]
        self.centroid = self._centroid(encoder if self._quantized() else encoder.to(self.job.ctx.device), sample)
        if self.earlier:
            adaptation.load(self.base.model, self.earlier)
        else:
            adaptation.attach(self.base.model)
        if adaptation.roles:
            encoder.activate = partial(adaptation.activate, self.base.model)

    def _quantized(self) -> bool:
        """Such weights stand on their device already, and refuse to be moved."""
        return bool(getattr(self.base.model, "is_quantized", False))

    @torch.no_grad()
    def _centroid(self, encoder: EncoderModule, sample: list[list[int]]) -> np.ndarray:
        """Mean unit vector of a sample of the training texts: (d,) float32."""
        encoder.eval()
        vectors = encoder.embed(sample).float().cpu().numpy()
        mean: np.ndarray = (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)).mean(0)
        return mean

    def save(self, trained: int) -> None:
        """Write the adapter, what makes vectors with it, and the base it belongs to."""
        job = self.job
        adaptation: LightAdaptation = job.slot("adaptation")
        adaptation.save(self.base.model, job.folder)
        encoders.save_settings(self.base, job.folder)
        adapters.save_centroid(self.centroid, job.folder)
        base = adapters.Base(
            digest=self.digest,
            model_type=str(self.base.model.config.model_type),
            parameters=self.parameters,
            artifact=self.folder.resolve().name,
        )
        record = adapters.AdapterRecord(
            adaptation=adaptation.slot(),
            library=adaptation.library,
            base=base,
            trained=trained,
            quantization=adaptation.quantization,
            roles=adaptation.roles,
        )
        adapters.save(record, job.folder)


def _parameters(folder: Path) -> int:
    """Weights of a checkpoint, from its safetensors headers."""
    from safetensors import safe_open

    count = 0
    for file in folder.glob("model*.safetensors"):
        with safe_open(file, framework="numpy") as handle:
            for name in handle.keys():  # noqa: SIM118 - a safetensors handle is no mapping
                shape = handle.get_slice(name).get_shape()
                count += int(np.prod(shape)) if shape else 1
    return count
