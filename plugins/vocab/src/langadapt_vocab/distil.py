"""distil: train the new input rows alone until the encoder's states match those under the old segmentation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch.nn.functional import mse_loss

from langadapt.contracts import Context, Mixture, Vocab, VocabInit
from langadapt.contracts.text import plain_backend
from langadapt.errors import ModelError
from langadapt_vocab.subword import MeanSubword


class Distil(VocabInit):
    """Start at `mean-subword`, then fit the rows of new tokens: states of the last layer, averaged over the stretches of text on which
    both segmentations agree, are to be what the encoder computes for its old pieces.

    After AweDist (Dobler, Elliott & de Melo 2025, arXiv:2505.20133), which matches states at single positions of a decoder.  Every
    other weight is frozen.  A token that no text has keeps its mean.
    """

    name: ClassVar[str] = "distil"
    version: ClassVar[str] = "2"

    steps: Annotated[int, Field(ge=1)] = 300
    batch_size: Annotated[int, Field(ge=1)] = 32
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    contexts: Annotated[int, Field(ge=1)] = 20
    """Texts in which a new token is looked at, at most."""
    max_length: Annotated[int, Field(ge=8)] = 64
    """Longer texts are cut, in pieces of the old vocabulary."""

    def mixture(self, old: Vocab, new: Vocab, texts: Iterable[str] | None, ctx: Context) -> Mixture:
        """Raises ModelError without a corpus."""
        if texts is None or old.model is None:
            raise ModelError("distil needs text: name the stage's 'corpus'")
        start = MeanSubword().mixture(old, new, texts, ctx)
        fresh = np.flatnonzero(np.array([word != "copied" for word in start.provenance]))
        chosen, seen = self._contexts(old, new, texts, set(fresh.tolist()))
        if not len(chosen):
            ctx.log.warning("no text has a new token: distil leaves every row at the mean of its pieces")
            return start
        table = _table(start, old)
        losses = self._fit(table, fresh, old, new, chosen, ctx)
        ctx.log.info(f"distilled {len(seen):,} of {len(fresh):,} new rows on {len(chosen):,} texts: loss {losses[0]:.4g} → {losses[1]:.4g}")
        words = ["distilled" if i in seen else word for i, word in enumerate(start.provenance)]
        return Mixture(start.weights, words, {**start.rows, **{i: table[i].numpy() for i in sorted(seen)}})

    def _contexts(self, old: Vocab, new: Vocab, texts: Iterable[str], fresh: set[int]) -> tuple[list[str], set[int]]:
        """Texts that have a new token not yet looked at `contexts` times, cut to length, and the new tokens they have."""
        left = dict.fromkeys(fresh, self.contexts)
        chosen: list[str] = []
        seen: set[int] = set()
        for text in texts:
            short = self._cut(old, text)
            found = fresh & set(plain_backend(new.tokenizer).encode(short, add_special_tokens=False).ids)
            if any(left[i] for i in found):
                chosen.append(short)
                seen |= found
                left.update({i: max(left[i] - 1, 0) for i in found})
        return chosen, seen

    def _cut(self, old: Vocab, text: str) -> str:
        """The start of a text that `max_length` old pieces spell."""
        offsets = plain_backend(old.tokenizer).encode(text, add_special_tokens=False).offsets
        return text if len(offsets) <= self.max_length else text[: offsets[self.max_length - 1][1]]

    def _fit(self, table: torch.Tensor, fresh: np.ndarray, old: Vocab, new: Vocab, texts: list[str], ctx: Context) -> tuple[float, float]:
        """Train the fresh rows of `table` in place; returns the mean loss of the first and the last tenth of the steps."""
        assert old.model is not None
        body: Any = old.model.base_model.eval()
        trainable = [parameter for parameter in body.parameters() if parameter.requires_grad]
        body.requires_grad_(False)
        places = torch.from_numpy(fresh)
        rows = torch.nn.Parameter(table[places].clone())
        slots = torch.full((len(table),), -1)
        slots[places] = torch.arange(len(places))
        optimizer = torch.optim.Adam([rows], lr=self.learning_rate)
        rng = ctx.rng("vocab-init")
        losses = []
        for step in ctx.log.track(range(self.steps), "distilling", self.steps):
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate * (1 - step / self.steps)
            picked = [texts[i] for i in rng.integers(len(texts), size=min(self.batch_size, len(texts)))]
            losses.append(self._step(body, rows, slots, table, old, new, picked, optimizer))
        table[places] = rows.detach()
        for parameter in trainable:
            parameter.requires_grad_(True)
        tenth = max(1, self.steps // 10)
        return float(np.mean(losses[:tenth])), float(np.mean(losses[-tenth:]))

    def _step(
        self,
        body: Any,
        rows: torch.nn.Parameter,
        slots: torch.Tensor,
        table: torch.Tensor,
        old: Vocab,
        new: Vocab,
        texts: list[str],
        optimizer: torch.optim.Optimizer,
    ) -> float:
        before, after = stretches(old, new, texts)
        with torch.no_grad():
            wanted = _means(body(input_ids=before.ids, attention_mask=before.mask).last_hidden_state, before)
        where = slots[after.ids]
        mixed = torch.where((where >= 0)[..., None], rows[where.clamp(min=0)], table[after.ids])
        found = _means(body(inputs_embeds=mixed, attention_mask=after.mask).last_hidden_state, after)
        loss = mse_loss(found, wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return float(loss.detach())


def _table(start: Mixture, old: Vocab) -> torch.Tensor:
    """(V_new, d) rows at the start."""
    assert old.rows is not None
    table = np.asarray(start.weights @ old.rows, dtype=np.float32)
    for i, row in start.rows.items():
        table[i] = row
    return torch.from_numpy(table)


@dataclass(frozen=True)
class Stretches:
    """Texts under one segmentation: ids, mask and the number of each token's stretch (-1 outside), all (B, T); how many there are."""

    ids: torch.Tensor
    mask: torch.Tensor
    parts: torch.Tensor
    count: int


def stretches(old: Vocab, new: Vocab, texts: list[str]) -> tuple[Stretches, Stretches]:
    """The same texts under both segmentations.  A stretch ends where a token ends in both; special tokens are outside."""
    both = [plain_backend(vocab.tokenizer).encode_batch(texts) for vocab in (old, new)]
    ends = [sorted(_ends(a) & _ends(b)) for a, b in zip(*both, strict=True)]
    starts = np.cumsum([0, *map(len, ends)])
    found = []
    for items, vocab in zip(both, (old, new), strict=True):
        parts = [_parts(item, common, first) for item, common, first in zip(items, ends, starts[:-1], strict=True)]
        ids = _padded([item.ids for item in items], vocab.special.get("pad", 0))
        mask = _padded([[1] * len(item.ids) for item in items], 0)
        found.append(Stretches(ids, mask, _padded(parts, -1), int(starts[-1])))
    return found[0], found[1]


def _ends(item: Any) -> set[int]:
    return {end for (_, end), special in zip(item.offsets, item.special_tokens_mask, strict=True) if not special}


def _parts(item: Any, ends: list[int], first: int) -> list[int]:
    """The stretch of each token; pieces after the last common end belong to none."""
    numbers = np.searchsorted(ends, [end for _, end in item.offsets])
    inside = (numbers < len(ends)) & (np.array(item.special_tokens_mask) == 0)
    return list(np.where(inside, first + numbers, -1).tolist())


def _padded(rows: list[list[int]], value: int) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)


def _means(states: torch.Tensor, texts: Stretches) -> torch.Tensor:
    """States (B, T, d) averaged per stretch: (count, d)."""
    inside = texts.parts >= 0
    places, flat = texts.parts[inside], states[inside]
    sums = torch.zeros(texts.count, flat.shape[1]).index_add(0, places, flat)
    tokens = torch.zeros(texts.count).index_add(0, places, torch.ones(len(places)))
    return sums / tokens.clamp(min=1)[:, None]
