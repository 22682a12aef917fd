"""A text's vector is made once for all tasks, and is what it would have been."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from langadapt.errors import ModelError
from langadapt.inference import kept_vectors
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


def test_the_next_run_gets_the_very_numbers(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call is kept whole: a text's last digits depend on what it was padded with."""
    texts = ["one text", "another one that is longer", "a third"]
    first = Encoder.load(tiny, device="cpu")
    remember(first, tmp_path)
    made = first.encode(texts, normalize=False)
    assert len(list((tmp_path / "vectors").iterdir())) == 1
    monkeypatch.setattr(Passes, "vectors", lambda *_: pytest.fail("made again"))
    second = Encoder.load(tiny, device="cpu")
    remember(second, tmp_path)
    assert np.array_equal(second.encode(texts, normalize=False), made)


@pytest.mark.parametrize("change", ["weights", "texts", "pooler", "batch", "damage", "truncated"])
def test_nothing_else_gets_them(tiny: Path, tmp_path: Path, change: str) -> None:
    texts = ["one text", "another one that is longer"]
    first = Encoder.load(tiny, device="cpu")
    remember(first, tmp_path)
    made = first.encode(texts, normalize=False)
    kept = next((tmp_path / "vectors").iterdir())
    # What is kept is made recognisable, its own digest with it: whoever is handed it would show it.
    payload = np.full_like(made, 7.0).tobytes()
    kept.write_bytes(hashlib.sha256(payload).digest() + payload)
    second = Encoder.load(tiny, device="cpu", pooler="cls" if change == "pooler" else None)
    if change == "weights":
        next(second._module.model.parameters()).data[0, 0] += 1.0
    if change == "damage":
        kept.write_bytes(kept.read_bytes()[:-1] + b"\x00")
    if change == "truncated":
        kept.write_bytes(kept.read_bytes()[:-4])
    remember(second, tmp_path)
    again = second.encode(texts[::-1] if change == "texts" else texts, normalize=False, batch_tokens=64 if change == "batch" else 4096)
    assert (again != 7.0).any()
    third = Encoder.load(tiny, device="cpu")
    remember(third, tmp_path)
    if change not in ("damage", "truncated"):  # these were made again, and kept
        assert (third.encode(texts, normalize=False) == 7.0).all()


def test_what_is_kept_has_a_limit(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call read longest ago goes; a folder that cannot be written is no error."""
    encoder = Encoder.load(tiny, device="cpu")
    size = 32 + encoder.width * 4
    monkeypatch.setattr(kept_vectors, "LIMIT", 2 * size + encoder.width)
    remember(encoder, tmp_path)
    names = []
    for age, text in ((300, "one"), (200, "two"), (100, "three")):
        encoder.encode([text])
        new = next(path for path in (tmp_path / "vectors").iterdir() if path.name not in names)
        names.append(new.name)
        os.utime(new, (new.stat().st_atime, new.stat().st_mtime - age))
    assert {path.name for path in (tmp_path / "vectors").iterdir()} == set(names[1:])
    (tmp_path / "file").write_text("", encoding="utf-8")
    remember(encoder, tmp_path / "file")
    assert encoder.encode(["four"]).shape == (1, encoder.width)
