"""What tags words by their vectors: a linear layer, or a conditional random field over one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from langadapt.errors import SourceError

EPOCHS, BATCH, RATE = 30, 32, 1e-2
"""Of a field on vectors that do not change: Adam, its rate falling to zero."""


def linear(train: list[np.ndarray], goal: list[list[int]], test: list[np.ndarray]) -> list[list[int]]:
    """Logistic regression, word by word; its loss has one minimum, so that no seed changes it."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=200, tol=1e-3))
    model.fit(np.concatenate(train), np.array([tag for sentence in goal for tag in sentence]))
    flat = iter(model.predict(np.concatenate(test)).tolist())
    return [[int(next(flat)) for _ in range(len(sentence))] for sentence in test]


def field(tags: int) -> Any:
    """A linear-chain conditional random field (Lafferty, McCallum & Pereira 2001) by pytorch-crf.

    Raises:
        SourceError: it is not installed.
    """
    try:
        from torchcrf import CRF
    except ImportError as error:
        raise SourceError("a conditional random field needs pytorch-crf", hint="pip install pytorch-crf") from error
    return CRF(tags, batch_first=True)


def crf(train: list[np.ndarray], goal: list[list[int]], test: list[np.ndarray], tags: int, seed: int) -> list[list[int]]:
    """A field over a linear layer on vectors scaled by the training words' mean and deviation; the likeliest tags of each sentence."""
    flat = np.concatenate(train)
    mean, scale = flat.mean(0), np.maximum(flat.std(0), 1e-6)
    torch.manual_seed(seed)
    layer, chain = nn.Linear(flat.shape[1], tags), field(tags)
    weights = [*layer.parameters(), *chain.parameters()]
    optimiser = torch.optim.Adam(weights, lr=RATE, weight_decay=1e-4)
    scaled = [torch.tensor((one - mean) / scale, dtype=torch.float32) for one in train]
    order, rng = [i for i, one in enumerate(scaled) if len(one)], np.random.default_rng(seed)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda epoch: 1 - epoch / EPOCHS)
    for _ in range(EPOCHS):
        rng.shuffle(order)
        for start in range(0, len(order), BATCH):
            some = order[start : start + BATCH]
            emitted, mask = _padded([layer(scaled[i]) for i in some])
            loss = -chain(emitted, _padded([torch.tensor(goal[i]) for i in some])[0], mask=mask, reduction="token_mean")
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
    with torch.no_grad():
        return [decoded(chain, layer(torch.tensor((one - mean) / scale, dtype=torch.float32))) for one in test]


def decoded(chain: Any, emitted: torch.Tensor) -> list[int]:
    """The likeliest tags of one sentence by its scores (w, tags)."""
    return list(chain.decode(emitted[None], mask=everything(emitted))[0]) if len(emitted) else []


def everything(emitted: torch.Tensor) -> torch.Tensor:
    """The mask (1, w) of a sentence alone; the library's own is of a type that torch will refuse."""
    return torch.ones(1, len(emitted), dtype=torch.bool, device=emitted.device)


def _padded(rows: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of different lengths in one tensor, and where it holds any."""
    whole = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = nn.utils.rnn.pad_sequence([torch.ones(len(row), dtype=torch.bool) for row in rows], batch_first=True)
    return whole, mask
