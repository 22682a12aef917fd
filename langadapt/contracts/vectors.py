"""From states to vectors, and from vectors to other vectors.

Letters in shapes: B batch, T tokens, L layers, d width, n texts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from langadapt.contracts.component import Component
from langadapt.contracts.encoder import EncoderSpec, States

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

Need = Literal["layers", "attentions"]


class Pooler(Component):
    """kind ``pooler``: token states to one vector, or to one vector a token."""

    kind: ClassVar[str] = "pooler"
    sentence_transformers: ClassVar[str | None] = None
    """Name of the same pooling in sentence-transformers (``mean``, ``cls``), or None."""
    needs: ClassVar[frozenset[Need]] = frozenset()
    """What it wants beside the last layer; asking costs memory, attentions time as well."""
    gives: ClassVar[Literal["dense", "multi"]] = "dense"
    """``multi`` gives a vector a token, compared by MaxSim."""

    def width(self, spec: EncoderSpec) -> int:
        """d' of the vectors it gives.

        Raises:
            ModelError: the body has not what it needs (layers of that number).
        """
        return spec.width

    def build(self, spec: EncoderSpec) -> nn.Module | None:
        """Weights of its own, which train, are saved with the encoder and loaded again; None without."""
        return None

    def layer_weights(self, spec: EncoderSpec, weights: Any = None) -> list[float] | None:
        """L+1 factors where the vector is the mean over real tokens of a sum of layers times these: sentence-transformers can do that."""
        return None

    @abstractmethod
    def pool(self, states: States, weights: Any = None) -> torch.Tensor:
        """States → (B, d') float32; with `gives` multi (B, T, d'), rows of tokens it leaves out all zero.

        Args:
            weights: what `build` made.
        """


class Fitted(ABC):
    """A transform that was fitted: a map of vectors."""

    width: int
    """d' of what it gives."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Everything it knows, by name; :meth:`Transform.restore` makes it again from them."""

    def linear(self) -> tuple[np.ndarray, np.ndarray] | None:
        """(weight (d', d), bias (d',)) of a map ``v @ weight.T + bias``; None for any other."""
        return None

    @abstractmethod
    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """(n, d) float32 → (n, d')."""

    def floats(self, stored: np.ndarray) -> np.ndarray:
        """(n, d') as :meth:`apply` gave them → float32 vectors that cosines may be computed of."""
        return stored


class Affine(Fitted):
    """``v @ weight.T + bias``; merged into the encoder's last linear map, trained with and exported."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray) -> None:
        self.weight, self.bias = weight, bias
        self.width = len(bias)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"weight": self.weight, "bias": self.bias}

    def linear(self) -> tuple[np.ndarray, np.ndarray]:
        return self.weight, self.bias

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        found: np.ndarray = vectors @ self.weight.T + self.bias
        return found


class Transform(Component):
    """kind ``transform``: fitted on vectors, shipped in the release."""

    kind: ClassVar[str] = "transform"

    @abstractmethod
    def fit(self, vectors: np.ndarray) -> Fitted:
        """(n, d) float32 vectors of the encoder → the map that is applied to all others.

        Raises:
            DataError: too few vectors, or ones it cannot be fitted on.
        """

    def restore(self, arrays: dict[str, np.ndarray]) -> Fitted:
        """What :meth:`fit` gave, from its :meth:`Fitted.arrays`.  Needed of transforms that are not affine."""
        return Affine(arrays["weight"], arrays["bias"])


class MultiVectors:
    """Several vectors a text, in one flat array: what an encoder of late interaction gives.

    Args:
        values: (N, d) float32 vectors of all texts, one after another.
        ends: (n,) where each text's end.
    """

    def __init__(self, values: np.ndarray, ends: np.ndarray) -> None:
        self.values, self.ends = values, ends

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, text: int) -> np.ndarray:
        """(T, d) vectors of one text."""
        found: np.ndarray = self.values[self._start(text) : self.ends[text]]
        return found

    def _start(self, text: int) -> int:
        return int(self.ends[text - 1]) if text else 0

    def part(self, start: int, end: int) -> MultiVectors:
        """The texts from `start` to before `end`."""
        first = self._start(start)
        return MultiVectors(self.values[first : self.ends[end - 1]], self.ends[start:end] - first)

    def maxsim(self, others: MultiVectors) -> np.ndarray:
        """(n, m) sums over a text's vectors of the largest dot product with another's (Khattab & Zaharia 2020, arXiv:2004.12832)."""
        import numpy as np

        starts = np.concatenate([[0], others.ends[:-1]])
        there = others.ends > starts  # a text without vectors matches nothing
        found = np.zeros((len(self), len(others)), dtype=np.float32)
        for text in range(len(self) if there.any() else 0):
            found[text, there] = np.maximum.reduceat(self[text] @ others.values.T, starts[there], axis=1).sum(0)
        return found
