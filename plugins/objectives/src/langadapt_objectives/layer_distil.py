"""A teacher's states learnt layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import nn

from langadapt.contracts import Batch, Columns, EncoderSpec, Loss, Models, Objective, Role, Row, States
from langadapt.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class LayerDistil(Objective):
    """Mean squared error between the student's layers and those of the teacher that stand at the same height.

    TinyBERT's first, general step (Jiao et al. 2020, arXiv:1909.10351): student layer m learns teacher layer ``m · L_teacher / L_student``,
    the embeddings those of the embeddings, through one learnt projection where the widths differ.  With `attentions` the maps are learnt
    as well: the authors take the scores before the softmax, which the libraries do not give out, so here it is probabilities, after the
    student's dropout: set the stage's ``dropout: 0`` with it.  The teacher is asked at every step, without dropout, on the same token
    ids.  Errors are means over dimensions (over heads and places for maps), and the loss is their mean over tokens.

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
        return Batch([row["text"] for row in rows], sum(len(row["text"]) for row in rows))

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
            states = layer[real]
            states = (states if models.head is None else models.head(states)).float()
            total = total + ((states - theirs.layers[m * each][real].float()) ** 2).mean(-1).sum()
        if self.attentions:
            total = total + self._maps(mine, theirs, each)
        return Loss(total)

    @staticmethod
    def _maps(mine: States, theirs: States, each: int) -> torch.Tensor:
        """Squared differences of attention maps, summed over tokens: the mean over a token's heads and the tokens it looks at."""
        assert mine.attentions is not None
        assert theirs.attentions is not None
        real = mine.mask.float()
        both = real[:, None, :, None] * real[:, None, None, :]
        lengths = real.sum(1).clamp(min=1)[:, None, None, None]
        total = mine.last.new_zeros(())
        for m, maps in enumerate(mine.attentions):
            apart = (maps.float() - theirs.attentions[(m + 1) * each - 1].float()) ** 2
            total = total + (apart * both / lengths).sum() / maps.shape[1]
        return total
