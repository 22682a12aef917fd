"""Encoder: whatever the texts and the batch size, the same vector for the same text."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from langadapt import Encoder, LangadaptError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def encoder(tiny: Path) -> Encoder:
    return Encoder.load(tiny, device="cpu")


@pytest.fixture(scope="module")
def texts(data: Path) -> list[str]:
    with gzip.open(data / "raw" / "mr-social.txt.gz", "rt", encoding="utf-8") as handle:
        return [line.strip() for line in itertools.islice(handle, 120)]


def test_real_texts_alone_together_and_shuffled(encoder: Encoder, texts: list[str]) -> None:
    together = encoder.encode(texts)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    assert together == pytest.approx(alone, abs=1e-5)
    order = np.random.default_rng(0).permutation(len(texts))
    assert encoder.encode([texts[i] for i in order]) == pytest.approx(together[order], abs=1e-5)
    assert encoder.encode(texts, normalize=True) == pytest.approx(together / np.linalg.norm(together, axis=1)[:, None], abs=1e-5)


def test_batch_tokens_bounds_and_widens_a_forward_pass(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, int]] = []
    hidden = encoder._module.run

    def watched(ids: Any, mask: Any, needs: Any = frozenset()) -> Any:
        shapes.append(tuple(ids.shape))
        return hidden(ids, mask, needs)

    monkeypatch.setattr(encoder._module, "run", watched)
    texts = ["आज पाऊस पडला"] * 1100
    length = len(encoder.tokenizer(texts[0])["input_ids"])
    for budget in (200, 4096, 6000):
        shapes.clear()
        encoder.encode(texts, batch_tokens=budget)
        assert max(rows * width for rows, width in shapes) <= budget
        assert len(shapes) == -(-1100 // (budget // length))


def test_counts(encoder: Encoder) -> None:
    limit = encoder.settings.max_length
    exact = "क " * (limit - 2)
    assert len(encoder.tokenizer(exact)["input_ids"]) == limit
    encoder.encode([exact, exact + "क", "घर", ""])
    sizes = [limit, limit, len(encoder.tokenizer("घर")["input_ids"]), 2]
    assert (encoder.stats.texts, encoder.stats.tokens, encoder.stats.truncated) == (4, sum(sizes), 1)
    # What is cut is the end: a longer tail changes nothing.
    assert (encoder.encode([exact + "क"]) == encoder.encode([exact + "क ख ग"])).all()
    encoder.encode([])
    assert (encoder.stats.texts, encoder.stats.tokens) == (0, 0)


def test_junk_is_encoded_or_refused_by_a_plain_message(encoder: Encoder) -> None:
    junk = ["\x00\x01", "\u200d" * 50, "\ufeff\ufffd", "a\u0301" * 300, "😀👩‍👩‍👧", "\U0010ffff", "\n\t ", "़़़््", "<mask> </s> <pad>"]
    found = encoder.encode(junk)
    assert np.isfinite(found).all()
    assert found == pytest.approx(np.concatenate([encoder.encode([text]) for text in junk]), abs=1e-5)
    with pytest.raises(LangadaptError, match="text 1 "):
        encoder.encode(["घर", "half a pair: \ud83d"])
    for wrong in (None, 3, b"bytes", ["list"]):
        with pytest.raises(LangadaptError, match="text 1 is"):
            encoder.encode(["घर", wrong])  # type: ignore[list-item]


def test_limits_that_others_left_in_the_tokenizer_do_not_matter(encoder: Encoder) -> None:
    texts = ["आज पुण्यात खूप पाऊस पडला", "घर"]
    before = encoder.encode(texts)
    encoder.tokenizer(texts, padding="max_length", truncation=True, max_length=3)
    assert (encoder.encode(texts) == before).all()


@pytest.mark.slow
def test_an_eight_bit_encoder_gives_a_text_its_own_vector(tiny: Path, texts: list[str]) -> None:
    """Alone, in small batches and in a large one: neither outliers nor the padding of neighbours move it."""
    pytest.importorskip("bitsandbytes")
    encoder = Encoder.load(tiny, device="cpu", quantization="8bit")
    together = encoder.encode(texts, normalize=True)
    alone = np.concatenate([encoder.encode([text], normalize=True) for text in texts])
    assert together == pytest.approx(alone, abs=1e-6)
    assert encoder.encode(texts, normalize=True, batch_tokens=128) == pytest.approx(together, abs=1e-6)
    whole = Encoder.load(tiny, device="cpu").encode(texts, normalize=True)
    assert (together * whole).sum(1).min() > 0.99
