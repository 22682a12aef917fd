"""Forward passes without training: token ids in, vectors, states or log-probabilities out, in the order given.

Sequences are sorted by token count and run in groups that share a length, so a batch pads a few per cent whatever the mix of texts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from langadapt.contracts.component import Log, SilentLog
from langadapt.contracts.vectors import MultiVectors
from langadapt.modeling.batching import group_by_length
from langadapt.modeling.encoder import EncoderModule, Rows

if TYPE_CHECKING:
    from langadapt.inference.bank import Lease

Sequences = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Passes:
    """A module and the number format that it runs in."""

    module: EncoderModule
    precision: str
    """``fp32`` or ``bf16``."""

    @contextmanager
    def _running(self) -> Iterator[None]:
        with torch.inference_mode(), torch.autocast(self.module.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            yield

    def vectors(self, ids: Sequences, batch_tokens: int, progress: bool | Log, lease: Lease | None) -> np.ndarray:
        """One vector a sequence: (n, d) float32."""
        found = np.empty((len(ids), self.module.width), dtype=np.float32)
        groups = group_by_length([len(one) for one in ids], batch_tokens)
        if getattr(self.module.model, "is_loaded_in_8bit", False):
            # Padding moves a state's last digit, which rounding to int8 makes a step of: no text is padded there.
            groups = [list(rows) for group in groups for _, rows in itertools.groupby(group, lambda i: len(ids[i]))]
        training = self.module.training
        if training:  # an encoder in training is measured; one that serves threads is never touched
            self.module.eval()
        try:
            with self._running():
                for group in log_of(progress).track(groups, "encoding", len(groups)):
                    vectors = self.module.embed([ids[i] for i in group], batch_tokens, _rows(lease, group))
                    found[group] = vectors.float().cpu().numpy()
        finally:
            if training:
                self.module.train()
        return found

    def multi(self, ids: Sequences, batch_tokens: int, progress: bool | Log) -> MultiVectors:
        """A vector a token, of those that the pooler keeps."""
        found: list[np.ndarray] = [np.empty((0, self.module.width), dtype=np.float32)] * len(ids)
        groups = group_by_length([len(one) for one in ids], batch_tokens)
        with self._running():
            for group in log_of(progress).track(groups, "encoding", len(groups)):
                vectors = self.module.embed([ids[i] for i in group], batch_tokens).float().cpu().numpy()
                for row, i in enumerate(group):
                    found[i] = vectors[row][np.abs(vectors[row]).sum(-1) > 0]
        empty = np.empty((0, self.module.width), dtype=np.float32)
        return MultiVectors(np.concatenate([*found, empty]), np.cumsum([len(one) for one in found], dtype=np.int64))

    def states(self, ids: Sequences, layer: int | None, batch_tokens: int, progress: bool | Log) -> list[np.ndarray]:
        """States of one layer, the last where none is named: (T, d) float32 a sequence."""
        groups = group_by_length([len(one) for one in ids], batch_tokens)
        found: list[np.ndarray] = [np.empty((0, 0), dtype=np.float32)] * len(ids)
        with self._running():
            for group in log_of(progress).track(groups, "reading tokens", len(groups)):
                tokens, mask = self.module.pad([ids[i] for i in group])
                read = self.module.run(tokens, mask, frozenset() if layer is None else frozenset({"layers"}))
                wanted = read.last if layer is None or read.layers is None else read.layers[layer]
                states = wanted.float().cpu().numpy()
                for row, i in enumerate(group):
                    found[i] = states[row, : len(ids[i])].copy()
        return found

    def log_probabilities(
        self, ids: Sequences, positions: Sequences, goal: Sequence[int] | None, batch_tokens: int, progress: bool | Log
    ) -> np.ndarray:
        """(m,) natural log-probabilities of the tokens `goal` at `positions`, sequence by sequence; of all tokens (m, V) without `goal`."""
        groups = group_by_length([len(one) for one in ids], batch_tokens)
        starts = np.cumsum([0, *[len(places) for places in positions]])
        found: np.ndarray = np.empty(int(starts[-1]), dtype=np.float32)
        wanted = np.asarray(goal if goal is not None else [])
        with self._running():
            for group in log_of(progress).track(groups, "predicting tokens", len(groups)):
                states = self.module.masked_states([ids[i] for i in group], [positions[i] for i in group])
                rows = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in group])
                logits = self.module.mlm_logits(states).float().log_softmax(-1)
                if goal is None:
                    found = found if found.ndim > 1 else np.empty((len(found), logits.shape[1]), dtype=np.float32)
                    found[rows] = logits.cpu().numpy()
                    continue
                chosen = torch.from_numpy(wanted[rows]).to(logits.device)
                found[rows] = logits.gather(1, chosen[:, None])[:, 0].cpu().numpy()
        return found


def _rows(lease: Lease | None, group: list[int]) -> Rows | None:
    """A lease's rows by their place in a group."""
    if lease is None:
        return None
    return lambda places: lease.rows([group[place] for place in places])


def log_of(progress: bool | Log) -> Log:
    """Where progress shows itself: a bar, nowhere, or the log that is given."""
    if progress is False:
        return SilentLog()
    if progress is True:
        from langadapt.progress import ConsoleLog

        return ConsoleLog()
    return progress
