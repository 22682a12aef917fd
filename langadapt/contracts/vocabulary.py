"""Vocabularies as tokenizer trainers and vocab-inits see them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from langadapt.contracts.component import Component, Context

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_array
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Vocab:
    """A vocabulary as vocab-inits see it.

    Args:
        tokens: piece strings by id, (V,).
        tokenizer: the tokenizer itself, to segment text with.
        special: ids of the special tokens by role (``pad``, ``unk``, ``mask``, …).
        rows: input embeddings, (V, d) float32, or None for a vocabulary that has none yet.
        model: the encoder whose rows these are, for methods that run it; they leave its weights as they are.
    """

    tokens: list[str]
    tokenizer: PreTrainedTokenizerFast
    special: dict[str, int]
    rows: np.ndarray | None = None
    model: PreTrainedModel | None = None


@dataclass(frozen=True)
class Mixture:
    """How new embedding rows come from old ones: ``new = weights @ old``, then `rows` set outright.

    Args:
        weights: (V_new, V_old) sparse; a row of zeros must have an entry in `rows`.
        rows: new id → row of shape (d,), for rows that are no mixture.
        provenance: (V_new,) one word per new token: ``copied``, ``mean``, ``random``, …
    """

    weights: csr_array
    provenance: list[str]
    rows: dict[int, np.ndarray] = field(default_factory=dict)


class TokenizerTrainer(Component):
    """kind ``tokenizer``: trains, extends or prunes a tokenizer."""

    kind: ClassVar[str] = "tokenizer"

    @abstractmethod
    def train(self, texts: Iterable[str], base: PreTrainedTokenizerFast | None, ctx: Context) -> PreTrainedTokenizerFast:
        """A fast tokenizer with special tokens and post-processing in place; the same bytes for the same texts.

        `texts` can be walked more than once.
        """

    def alternatives(self, base: PreTrainedTokenizerFast, scripts: list[str], budget: int, vocab_size: int) -> dict[str, TokenizerTrainer]:
        """For a trainer that chooses among others: these, by what they do to the base's vocabulary (``prune``, ``extend`` …).

        Args:
            scripts: ISO 15924 codes of the language.
            budget: tokens that an extension may add.
            vocab_size: entries of a vocabulary that takes the base's place.
        """
        return {}


class VocabInit(Component):
    """kind ``vocab-init``: proposes where new embedding rows come from; the core alone applies it."""

    kind: ClassVar[str] = "vocab-init"

    @abstractmethod
    def mixture(self, old: Vocab, new: Vocab, texts: Iterable[str] | None, ctx: Context) -> Mixture:
        """One row per new token."""


class Embedding(Component):
    """kind ``embedding``: input rows computed from how tokens are spelt, in place of a matrix of rows that are learnt.

    A checkpoint holds the computed rows as a plain matrix, so that every library reads it; what the module has learnt lies beside them.
    Output rows of a masked-LM head stay a matrix of their own.
    """

    kind: ClassVar[str] = "embedding"

    @abstractmethod
    def build(self, tokenizer: PreTrainedTokenizerFast, width: int) -> nn.Module:
        """A module: ids (…) int64 from 0 to the tokenizer's largest → rows (…, `width`) float32, for numbers without a token too.

        One without parameters never trains: its rows are computed once for each stage, and must be the same ones every time.

        Raises:
            ModelError: the tokenizer or the width is none that it can serve.
        """
