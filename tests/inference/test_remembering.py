"""A text's vector is made once for all tasks, and is what it would have been."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from langadapt.errors import ModelError
from langadapt.inference.encoder import Encoder
from langadapt.inference.passes import Passes
from langadapt.inference.remembering import remember


@pytest.fixture
def encoder(tiny: Path) -> Encoder:
    return Encoder.load(tiny, device="cpu")


def test_each_text_is_read_once(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = encoder.encode(["one text", "another one", "one text"], normalize=False)
    read: list[int] = []
    theirs = Passes.vectors

    def counted(self: Passes, ids: list[list[int]], *rest: object) -> np.ndarray:
        read.append(len(ids))
        return theirs(self, ids, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Passes, "vectors", counted)
    remember(encoder)
    first = encoder.encode(["one text", "another one", "one text"], normalize=False)
    again = encoder.encode(["another one", "a third", "one text"], normalize=False)
    assert read == [2, 1]
    assert np.abs(first - plain).max() < 1e-6
    assert np.array_equal(again[0], first[1])
    assert np.array_equal(again[2], first[0])


def test_scaling_one_answer_leaves_what_is_kept(encoder: Encoder) -> None:
    """Vectors are scaled in place: what is kept must not be."""
    remember(encoder)
    raw = encoder.encode(["some words"], normalize=False)
    units = encoder.encode(["some words"], normalize=True)
    assert np.linalg.norm(units[0]) == pytest.approx(1.0)
    assert np.array_equal(encoder.encode(["some words"], normalize=False), raw)
    assert encoder.encode([], normalize=False).shape == (0, encoder.width)


def test_vectors_that_are_no_numbers_are_said(encoder: Encoder) -> None:
    """Left to a classifier of scikit-learn they would be an error of its own, and to a mean a figure that is none."""
    remember(encoder)
    encoder.encode(["some words"])
    next(encoder._module.model.parameters()).data.fill_(float("nan"))
    with pytest.raises(ModelError, match="vectors of 2 of 2 texts are no numbers"):
        encoder.encode(["other words", "a third", "some words"])
