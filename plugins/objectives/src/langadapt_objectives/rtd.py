"""Telling replaced tokens from real ones: a small generator proposes, the encoder judges."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, gelu

from langadapt.contracts import Batch, EncoderSpec, Loss, Models
from langadapt.contracts.checkpoints import mlm_logits
from langadapt.errors import ModelError
from langadapt_objectives.mlm import MaskedLanguageModel

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedTokenizerFast

    from langadapt.contracts import Row


class Judge(nn.Module):
    """The generator, and the layer that judges a token's state."""

    def __init__(self, spec: EncoderSpec, layers: int) -> None:
        super().__init__()
        from transformers import AutoModelForMaskedLM

        config = copy.deepcopy(spec.config)
        config.num_hidden_layers = layers
        try:
            self.generator = AutoModelForMaskedLM.from_config(config)
        except ValueError as error:
            raise ModelError(f"'{spec.architecture}' has no masked-LM form that could be a generator") from error
        self.dense = nn.Linear(spec.width, spec.width)
        self.out = nn.Linear(spec.width, 1)

    def judge(self, states: torch.Tensor) -> torch.Tensor:
        """(…) logits of being replaced, of states (…, d)."""
        found: torch.Tensor = self.out(gelu(self.dense(states)))[..., 0]
        return found


class ReplacedTokens(MaskedLanguageModel):
    """A generator fills hidden tokens in by drawing from its predictions, and the encoder says of every token whether it was replaced.

    ELECTRA (Clark et al. 2020, arXiv:2003.10555).  The generator is a model of the encoder's architecture and width with fewer layers,
    drawn at random: short trainings see near-random replacements.  It reads through the encoder's own token embeddings, which both
    losses train (ELECTRA's sharing, of the input alone; DeBERTaV3 keeps their gradients apart), and is thrown away after training.  The
    loss is the generator's cross-entropy at the hidden places plus `weight` times the binary cross-entropy over all tokens, special
    ones left out: means over their tokens in the paper; here both are summed, the generator's over the expected share of hidden places.
    A token that the generator guesses right counts as real.
    """

    name: ClassVar[str] = "rtd"
    version: ClassVar[str] = "1"
    needs_mlm_head: ClassVar[bool] = False

    weight: Annotated[float, Field(gt=0)] = 50.0
    """Of the encoder's loss beside the generator's."""
    generator_layers: Annotated[int, Field(ge=1)] | None = None
    """None takes a third of the encoder's, one at least."""

    def build(self, spec: EncoderSpec, teacher: EncoderSpec | None = None) -> nn.Module:
        return Judge(spec, self.generator_layers or max(1, spec.layers // 3))

    def collate(self, rows: list[Row], tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator, head: Any = None) -> Batch:
        """Every hidden token becomes the mask token: what stands in its place is the generator's business."""
        found = super().collate(rows, tokenizer, rng, head)
        hidden = [list(ids) for ids in found.sequences]
        for ids, places in zip(hidden, found.extra["positions"], strict=True):
            for place in places:
                ids[place] = int(tokenizer.mask_token_id)
        special = sorted(set(tokenizer.all_special_ids))
        ordinary = sum(token not in set(special) for row in rows for token in row["text"])
        return Batch(hidden, max(1, ordinary), {**found.extra, "real": [list(row["text"]) for row in rows], "special": special})

    def loss(self, models: Models, batch: Batch, step: int) -> Loss:
        encoder, judge = models.encoder, models.head
        ids, mask = encoder.pad(batch.sequences)
        real, _ = encoder.pad(batch.extra["real"])
        rows = torch.tensor([row for row, places in enumerate(batch.extra["positions"]) for _ in places], device=ids.device)
        columns = torch.tensor([place for places in batch.extra["positions"] for place in places], device=ids.device)
        logits = self._proposals(encoder, judge, ids, mask, rows, columns).float()
        labels = torch.from_numpy(batch.extra["labels"]).to(ids.device)
        with torch.no_grad():
            noise = -torch.log(-torch.log(torch.rand_like(logits).clamp(1e-9, 1 - 1e-7)))
            drawn = (logits + noise).argmax(-1)
        proposed = ids.clone()
        proposed[rows, columns] = drawn
        replaced = (proposed != real).float()
        judged = judge.judge(encoder.run(proposed, mask).last).float()
        special = torch.tensor(batch.extra["special"], device=ids.device)
        there = mask.bool() & ~torch.isin(real, special)
        guess = cross_entropy(logits, labels, reduction="sum")
        told = binary_cross_entropy_with_logits(judged[there], replaced[there], reduction="sum")
        right = float(((judged > 0) == replaced.bool())[there].float().sum())
        return Loss(guess / self.rate + self.weight * told, {"generator": float(guess.detach()), "judged right": right})

    @staticmethod
    def _proposals(
        encoder: Any, judge: Judge, ids: torch.Tensor, mask: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
    ) -> torch.Tensor:
        """(m, V) the generator's logits at chosen places, from the encoder's embeddings."""
        embedded = encoder.model.get_input_embeddings()(ids)
        states = judge.generator.base_model(inputs_embeds=embedded, attention_mask=mask).last_hidden_state
        return mlm_logits(judge.generator, states[rows, columns])
