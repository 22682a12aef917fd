"""Masked language modelling that hides what the model predicts badly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import cross_entropy

from langadapt.contracts import Batch, EncoderSpec, Loss, Models, Row
from langadapt_objectives.mlm import MaskedLanguageModel, numbering

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class TokenLosses(nn.Module):
    """What is remembered of each token of the vocabulary: its mean loss of late, and how often it was seen.  Kept in checkpoints."""

    losses: torch.Tensor
    seen: torch.Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("losses", torch.zeros(size))
        self.register_buffer("seen", torch.zeros(size))

    def weights(self) -> np.ndarray:
        """(V,) the mean loss of each token, and of those not yet predicted that of all."""
        known = self.seen > 0
        mean = self.losses[known].mean() if bool(known.any()) else torch.ones(())
        found: np.ndarray = np.maximum(torch.where(known, self.losses, mean).cpu().numpy().astype(np.float64), 1e-3)
        return found

    @torch.no_grad()
    def learn(self, tokens: torch.Tensor, losses: torch.Tensor, keep: float) -> None:
        """Move the means of these tokens (m,) towards their losses (m,) of this step."""
        present, where, count = torch.unique(tokens, return_inverse=True, return_counts=True)
        mean = torch.zeros(len(present), device=losses.device).index_add(0, where, losses) / count
        old = self.losses[present]
        new = torch.where(self.seen[present] > 0, keep * old + (1 - keep) * mean, mean)
        self.losses[present] = new
        self.seen[present] += count


class Weighted(MaskedLanguageModel):
    """As ``mlm``, but a token is hidden in proportion to its weight: tokens that the model still predicts badly are hidden more often.

    After dynamic weighted sampling (WSBERT; Zhang et al. 2023, arXiv:2302.14225), which weighs tokens by their training loss, so that
    rare tokens are learnt.  Here a weight is a running mean of the token's loss to the power `sharpness`, and chances are scaled so that
    each batch hides `rate` of its tokens, none with a chance above `most`; the authors' code is not public, and their scaling may differ
    in detail: this is the idea of the paper, not a reproduction of its figures.
    """

    name: ClassVar[str] = "weighted"
    version: ClassVar[str] = "1"

    masking: Literal["dynamic"] = "dynamic"
    keep: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Share of a token's mean loss that one micro-batch leaves as it was."""
    sharpness: Annotated[float, Field(ge=0)] = 1.0
    """0 hides all tokens alike."""
    most: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Largest chance of a token to be hidden."""

    def build(self, spec: EncoderSpec, teacher: EncoderSpec | None = None) -> nn.Module:
        return TokenLosses(spec.vocabulary)

    def collate(self, rows: list[Row], tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator, head: Any = None) -> Batch:
        flat = np.concatenate([np.asarray(row["text"], dtype=np.int64) for row in rows])
        special, _ = numbering(tokenizer)
        free = np.flatnonzero(~np.isin(flat, special))
        # A validation hides the same tokens every time: its losses are to be compared.
        weights = head.weights()[flat[free]] ** self.sharpness if head.training else np.ones(len(free))
        chances = self._chances(weights) if len(free) else np.zeros(0)
        return self._masked(rows, flat, free[rng.random(len(free)) < chances], free, tokenizer, rng)

    def _chances(self, weights: np.ndarray) -> np.ndarray:
        """(n,) chances in proportion to the weights, `rate` on average, none above `most`."""
        if self.rate >= self.most:
            return np.full(len(weights), self.rate)
        found: np.ndarray = np.minimum(weights * (self.rate * len(weights) / weights.sum()), self.most)
        for _ in range(20):  # what the bound cuts off is given to the others
            short = self.rate * len(weights) - found.sum()
            below = found < self.most
            if short < 1e-9 or not below.any():
                break
            found[below] = np.minimum(found[below] * (1 + short / found[below].sum()), self.most)
        return found

    def loss(self, models: Models, batch: Batch, step: int) -> Loss:
        logits, labels = self.logits(models, batch)
        losses = cross_entropy(logits, labels, reduction="none")
        if models.head.training:
            models.head.learn(labels, losses.detach().float(), self.keep)
        return Loss(losses.sum())
