"""A teacher's states learnt layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import nn
from torch.nn.functional import mse_loss

from langadapt.contracts import Batch, Columns, EncoderSpec, Loss, Models, Objective, Role, Row
from langadapt.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class LayerDistil(Objective):
    """Mean squared error between the student's layers and those of the teacher that stand at the same height.

    TinyBERT's first, general step (Jiao et al. 2020, arXiv:1909.10351): student layer m learns teacher layer ``m · L_teacher / L_student``,
    the embeddings those of the embeddings, through one learnt projection where the widths differ; with `attentions` the maps (before
    them the authors take logits, which the libraries do not give out: here probabilities) are learnt as well.  The teacher is asked at
    every step, without dropout, on the same token ids.

    Inputs: ``text``.  Long texts are split.
    """

    name: ClassVar[str] = "layer-distil"
    columns: ClassVar[tuple[Columns, ...]] = ({"text": Role.TEXT},)
    needs_teacher: ClassVar[bool] = True
    long_texts: ClassVar[Literal["truncate", "split"]] = "split"

    attentions: bool = False

    def build(self, spec: EncoderSpec, teacher: EncoderSpec | None = None) -> nn.Module | None:
        assert teacher is not None
        if teacher.layers % spec.layers:
            raise ModelError(
                f"the teacher's {teacher.layers} layers are no multiple of the student's {spec.layers}",
                hint="Give the student another number of layers: {do: load, layers: …}.",
            )
        if self.attentions and teacher.heads != spec.heads:
            raise ModelError(f"attention maps of {teacher.heads} heads cannot be learnt by {spec.heads}", hint="Switch 'attentions' off.")
        return nn.Linear(spec.width, teacher.width, bias=False) if spec.width != teacher.width else None

    def collate(self, rows: list[Row], tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator, head: Any = None) -> Batch:
        return Batch([row["text"] for row in rows], len(rows))

    def loss(self, models: Models, batch: Batch, step: int) -> Loss:
        assert models.teacher is not None
        needs = frozenset({"layers", "attentions"} if self.attentions else {"layers"})
        mine = models.encoder.states(batch.sequences, needs)
        with torch.no_grad():
            theirs = models.teacher.states(batch.sequences, needs)
        assert mine.layers is not None
        assert theirs.layers is not None
        each = (len(theirs.layers) - 1) // (len(mine.layers) - 1)
        real = mine.mask.bool()
        total = mine.last.new_zeros(())
        for m, layer in enumerate(mine.layers):
            states = layer[real].float()
            goal = theirs.layers[m * each][real].float()
            total = total + mse_loss(states if models.head is None else models.head(states).float(), goal)
        if self.attentions:
            assert mine.attentions is not None
            assert theirs.attentions is not None
            for m, maps in enumerate(mine.attentions):
                total = total + mse_loss(maps.float(), theirs.attentions[(m + 1) * each - 1].float())
        return Loss(total * batch.count)
