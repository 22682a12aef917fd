"""Masked language modelling: single tokens, whole words or spans are hidden, anew at every step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal
from weakref import WeakKeyDictionary

import numpy as np
import torch
from pydantic import Field
from torch.nn.functional import cross_entropy

from langadapt.contracts import WORDS, Batch, Columns, Loss, Models, Objective, Role, Row
from langadapt_objectives import masking

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast


OF_WORDS = ("whole-word", "span")
"""Ways of masking that ask where words end."""


class MaskedLanguageModel(Objective):
    """Predict hidden tokens; which ones are hidden is drawn anew at every step.

    Devlin et al. 2019 (arXiv:1810.04805); dynamic masking: Liu et al. 2019 (arXiv:1907.11692); higher rates than 15 %: Wettig et al.
    2023 (arXiv:2202.08005).  Of the chosen tokens 80 % become the mask token, 10 % a random token, 10 % stay; of spans all tokens
    of one share its fate, as in SpanBERT and LTG-BERT.  Special tokens are never chosen.  The loss is a cross-entropy at the chosen
    positions only.

    Inputs: ``text``.  Long texts are split into pieces of the encoder's maximum length.
    """

    name: ClassVar[str] = "mlm"
    version: ClassVar[str] = "3"
    columns: ClassVar[tuple[Columns, ...]] = ({"text": Role.TEXT},)
    needs_mlm_head: ClassVar[bool] = True
    long_texts: ClassVar[Literal["truncate", "split"]] = "split"

    rate: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the tokens that are predicted."""
    masking: Literal["dynamic", "whole-word", "span", "token-span"] = "dynamic"
    """Single tokens, all pieces of a word, runs of words (SpanBERT) or of tokens (LTG-BERT); see :mod:`langadapt_objectives.masking`."""
    words: Literal["icu", "white-space"] = "icu"
    """What a word is, for ``whole-word`` and ``span``."""

    def word_ends(self) -> Callable[[str], list[int]] | None:
        """How the core tells the words of a text apart when it tokenises it; None where tokens are hidden one by one."""
        return partial(masking.word_ends, words=self.words) if self.masking in OF_WORDS else None

    def prepare(self, data: Dataset) -> Dataset:
        if self.masking in OF_WORDS and self.words == "white-space":
            masking.check_white_space(data["text"])
        return super().prepare(data)

    def collate(self, rows: list[Row], tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator, head: Any = None) -> Batch:
        """Mask all rows in one go; labels are the tokens that were hidden."""
        lengths = [len(row["text"]) for row in rows]
        flat = np.fromiter((token for row in rows for token in row["text"]), dtype=np.int64, count=sum(lengths))
        special, _ = numbering(tokenizer)
        free = np.flatnonzero(~np.isin(flat, special))
        chosen, spans = self._chosen(free, rows, rng)
        return self._masked(rows, flat, chosen, free, tokenizer, rng, spans)

    def _masked(
        self,
        rows: list[Row],
        flat: np.ndarray,
        chosen: np.ndarray,
        free: np.ndarray,
        tokenizer: PreTrainedTokenizerFast,
        rng: np.random.Generator,
        spans: np.ndarray | None = None,
    ) -> Batch:
        """A batch in which the chosen places of the rows' tokens (n,) are hidden; one at least, if it may be.

        Args:
            spans: (n,) which places share a fate; without it each has its own.
        """
        special, size = numbering(tokenizer)
        if not len(chosen):
            chosen, spans = free[:1] if len(free) else np.arange(1), None
        labels = flat[chosen]
        fate = rng.random(len(chosen)) if spans is None else rng.random(int(spans.max()) + 1)[spans]
        masked = flat.copy()
        masked[chosen[fate < 0.8]] = tokenizer.mask_token_id
        swapped = chosen[(fate >= 0.8) & (fate < 0.9)]
        masked[swapped] = ordinary_ids(rng.integers(size - len(special), size=len(swapped)), special)
        lengths = np.array([len(row["text"]) for row in rows])
        ends = np.cumsum(lengths)
        starts = ends - lengths
        sequences = [masked[a:b].tolist() for a, b in zip(starts, ends, strict=True)]
        bounds = np.searchsorted(chosen, ends)
        positions = [(chosen[low:high] - start).tolist() for low, high, start in zip(np.r_[0, bounds[:-1]], bounds, starts, strict=True)]
        return Batch(sequences, len(labels), {"positions": positions, "labels": labels})

    def _chosen(self, free: np.ndarray, rows: list[dict[str, Any]], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        if self.masking == "dynamic":
            return masking.dynamic(free, self.rate, rng), None
        if self.masking == "token-span":
            return masking.token_span(free, np.array([len(row["text"]) for row in rows]), self.rate, rng)
        # Words are counted per sequence: a shift that no sequence reaches keeps two neighbours' words apart.
        words = np.concatenate([np.asarray(row["text" + WORDS]) + row_number * 2**32 for row_number, row in enumerate(rows)])[free]
        if self.masking == "whole-word":
            return masking.whole_word(free, words, self.rate, rng), None
        return masking.span(free, words, self.rate, rng)

    def loss(self, models: Models, batch: Batch, step: int) -> Loss:
        logits, labels = self.logits(models, batch)
        return Loss(cross_entropy(logits, labels, reduction="sum"))

    def logits(self, models: Models, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Vocabulary logits at the hidden places (m, V) float32, and the tokens that stood there (m,)."""
        states = models.encoder.masked_states(batch.sequences, batch.extra["positions"])
        found = models.encoder.mlm_logits(states).float()
        return found, torch.from_numpy(batch.extra["labels"]).to(found.device)


KNOWN: WeakKeyDictionary[PreTrainedTokenizerFast, tuple[np.ndarray, int]] = WeakKeyDictionary()


def numbering(tokenizer: PreTrainedTokenizerFast) -> tuple[np.ndarray, int]:
    """Ids that masking leaves alone, sorted, and how many ids there are.

    Remembered, as a training run asks at each step: transformers builds the whole vocabulary to count it, a tenth of a second for XLM-R's.
    """
    if tokenizer not in KNOWN:
        KNOWN[tokenizer] = np.array(sorted(set(tokenizer.all_special_ids)), dtype=np.int64), len(tokenizer)
    return KNOWN[tokenizer]


def ordinary_ids(numbers: np.ndarray, special: np.ndarray) -> np.ndarray:
    """The ids that stand at these places once the special ones are left out, (n,)."""
    return numbers + np.searchsorted(special - np.arange(len(special)), numbers, side="right")
