"""Texts of one call, read as their adapters read them and ready for forward passes, alone or beside those of other calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from langadapt.inference.texts import check_texts, names_of, token_ids_of

if TYPE_CHECKING:
    from langadapt.inference.bank import Lease
    from langadapt.inference.encoder import Encoder


@dataclass(frozen=True, eq=False)
class Asked:
    """Token ids of texts, and the adapters that were pinned when they were read."""

    ids: list[list[int]]
    lease: Lease | None
    """None where every text is the base's."""
    cut: dict[int, int]
    """How many texts were cut at which length, in tokens."""

    @property
    def tokens(self) -> int:
        """Tokens of all texts, special ones included."""
        return sum(map(len, self.ids))


@contextmanager
def asked(encoder: Encoder, texts: Sequence[str], adapter: str | Sequence[str | None] | None) -> Iterator[Asked]:
    """Texts ready to be encoded, until the block ends.

    The adapters are pinned before any text is prepared: whatever is added, removed or replaced meanwhile, one call reads its texts and
    makes its vectors by one and the same adapter.

    Raises:
        DataError: no list of texts, or not one adapter's name a text.
        ModelError: unknown adapters, all of them named.
    """
    check_texts(texts)
    names = names_of(adapter, encoder.default_adapter, len(texts))
    with encoder._adapters.bank().lease(names) if any(names) else nullcontext() as lease:
        readings = lease.readings if lease else [None] * len(texts)
        ids, cut = token_ids_of(texts, readings, encoder._adapters.own_reading(), encoder.tokenizer)
        yield Asked(ids, lease, cut)


def vectors_together(encoder: Encoder, rows: Sequence[tuple[Asked, int]], batch_tokens: int = 4096) -> np.ndarray:
    """Vectors of texts of several calls, each through its own adapter: (n, d) float32, for :meth:`Encoder.finished`.

    Args:
        encoder: that every call asked.
        rows: a call whose block has not ended, and the place of a text in it.
        batch_tokens: padded tokens in one forward pass.
    """
    leased = [(one.lease, i) for one, i in rows]
    lease = encoder._adapters.bank().joint(leased) if any(lease for lease, _ in leased) else None
    return encoder._passes.vectors([one.ids[i] for one, i in rows], batch_tokens, False, lease)
