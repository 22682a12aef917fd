"""Components of the core itself, registered through the same door as any plugin's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from langadapt.contracts.hooks import ComponentRef, hookimpl


@hookimpl
def langadapt_components() -> Iterable[ComponentRef]:
    return [
        ComponentRef("adaptation", "full", "langadapt.training.adaptation:Full", "train every weight"),
        ComponentRef("adaptation", "freeze", "langadapt.training.adaptation:Freeze", "train embeddings or the top layers only"),
        ComponentRef("normalizer", "chain", "langadapt.modeling.normalizing:Chain", "several normalizers, one after another"),
        ComponentRef("optimizer", "adamw", "langadapt.training.optimizer:AdamW", "AdamW, fused"),
        ComponentRef("pooler", "mean", "langadapt.modeling.pooling:Mean", "mean of the token states"),
        ComponentRef("pooler", "layer-mean", "langadapt.modeling.pooling:LayerMean", "mean of any set of layers' token states"),
        ComponentRef("pooler", "cls", "langadapt.modeling.pooling:Cls", "state of the first token"),
        ComponentRef("sampler", "random", "langadapt.training.sampling:Random", "every batch by chance"),
        ComponentRef("sampler", "bucketed", "langadapt.training.sampling:Bucketed", "batches of rows of similar length"),
        ComponentRef("schedule", "linear", "langadapt.training.schedule:Linear", "warm up, then fall to zero linearly"),
        ComponentRef("schedule", "cosine", "langadapt.training.schedule:Cosine", "warm up, then fall along half a cosine"),
        ComponentRef("schedule", "wsd", "langadapt.training.schedule:WarmupStableDecay", "warm up, stay, fall at the end"),
        ComponentRef("schedule", "constant", "langadapt.training.schedule:Constant", "warm up, then stay"),
    ]


@hookimpl
def langadapt_data_dirs() -> Iterable[Path]:
    # In a checkout the manifests stand at the top level; a wheel carries them inside the package.
    package = Path(__file__).resolve().parent.parent
    return [folder for folder in (package / "shipped", package.parent) if (folder / "recipes").is_dir()]
