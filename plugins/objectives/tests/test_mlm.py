"""Masked language modelling: what is hidden, what stays, and the loss."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from langadapt_objectives import masking
from langadapt_objectives.mlm import MaskedLanguageModel, ordinary_ids

from langadapt.artifacts import encoder as encoders
from langadapt.artifacts.encoder import LoadedEncoder
from langadapt.contracts import Models, Role
from langadapt.contracts.training import Batch
from langadapt.errors import DataError
from langadapt.modeling.pooling import Mean
from langadapt.training.tokenized import TokenizedRows

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def loaded(tiny: Path) -> LoadedEncoder:
    torch.manual_seed(0)
    return encoders.load(tiny, mlm_head=True)


@pytest.fixture(scope="module")
def rows(loaded: LoadedEncoder, data: Path) -> list[dict[str, Any]]:
    with gzip.open(data / "raw" / "mr.txt.gz", "rt", encoding="utf-8") as handle:
        texts = [line.strip() for line in itertools.islice(handle, 500, 1500)]
    found = TokenizedRows.of(Dataset.from_dict({"text": texts}), loaded.tokenizer, 64, {"text": Role.TEXT}, "split")
    return found.take(range(len(found)))


def collate(rows: list[dict[str, Any]], loaded: LoadedEncoder, rate: float = 0.15, seed: int = 0) -> Batch:
    return MaskedLanguageModel(rate=rate).collate(rows, loaded.tokenizer, np.random.default_rng(seed))


def restored(batch: Batch) -> list[list[int]]:
    """The sequences with the labels put back."""
    sequences, labels = [list(ids) for ids in batch.sequences], iter(batch.extra["labels"].tolist())
    for ids, places in zip(sequences, batch.extra["positions"], strict=True):
        for place in places:
            ids[place] = next(labels)
    assert next(labels, None) is None
    return sequences


@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_rates(rows: list[dict[str, Any]], loaded: LoadedEncoder, rate: float) -> None:
    batch = collate(rows, loaded, rate)
    special = set(loaded.tokenizer.all_special_ids)
    ordinary = sum(token not in special for row in rows for token in row["text"])
    assert ordinary > 30_000
    assert batch.count == len(batch.extra["labels"]) == sum(map(len, batch.extra["positions"]))
    assert batch.count / ordinary == pytest.approx(rate, abs=0.008)
    shown = [ids[place] for ids, places in zip(batch.sequences, batch.extra["positions"], strict=True) for place in places]
    labels = batch.extra["labels"].tolist()
    masked = sum(token == loaded.tokenizer.mask_token_id for token in shown) / len(shown)
    kept = sum(token == label for token, label in zip(shown, labels, strict=True)) / len(shown)
    assert masked == pytest.approx(0.8, abs=0.02)
    assert kept == pytest.approx(0.1, abs=0.015)
    swapped = [token for token, label in zip(shown, labels, strict=True) if token != label and token != loaded.tokenizer.mask_token_id]
    assert len(swapped) / len(shown) == pytest.approx(0.1, abs=0.015)
    # Random tokens come from the whole vocabulary, and none is special.
    assert not special & set(swapped)
    assert np.mean(swapped) == pytest.approx(len(loaded.tokenizer) / 2, rel=0.1)
    assert len(set(swapped)) > 0.8 * len(swapped) * (1 - len(swapped) / len(loaded.tokenizer))


def test_special_tokens_are_never_hidden_and_nothing_else_changes(rows: list[dict[str, Any]], loaded: LoadedEncoder) -> None:
    special = set(loaded.tokenizer.all_special_ids)
    batch = collate(rows, loaded, 0.9)
    assert not special & set(batch.extra["labels"].tolist())
    assert restored(batch) == [row["text"] for row in rows]
    for row, ids in zip(rows, batch.sequences, strict=True):
        assert [token for token in row["text"] if token in special] == [
            token for token, before in zip(ids, row["text"], strict=True) if before in special
        ]


def test_masks_follow_the_generator(rows: list[dict[str, Any]], loaded: LoadedEncoder) -> None:
    first, again, other = (collate(rows[:50], loaded, seed=seed) for seed in (1, 1, 2))
    assert first.sequences == again.sequences
    assert first.extra["positions"] == again.extra["positions"] != other.extra["positions"]


def test_a_batch_too_short_for_its_rate_still_hides_one_token(rows: list[dict[str, Any]], loaded: LoadedEncoder) -> None:
    for seed in range(10):
        batch = collate([{"text": rows[0]["text"][:2]}], loaded, 0.01, seed)
        assert batch.extra["positions"] == [[1]]


@torch.no_grad()
def test_loss_equals_the_dense_cross_entropy(rows: list[dict[str, Any]], loaded: LoadedEncoder) -> None:
    batch = collate(rows[:24], loaded)
    assert [] not in (batch.sequences, batch.extra["positions"])
    encoder = loaded.module(Mean(), budget=300).eval()
    found = MaskedLanguageModel().loss(Models(encoder), batch, 0).total / batch.count
    ids, mask = encoder.pad(batch.sequences)
    labels = torch.full_like(ids, -100)
    values = iter(batch.extra["labels"].tolist())
    for row, places in enumerate(batch.extra["positions"]):
        for place in places:
            labels[row, place] = next(values)
    dense = loaded.model.eval()(input_ids=ids, attention_mask=mask, labels=labels).loss
    assert float(found) == pytest.approx(float(dense), rel=1e-5)


# words and spans ---------------------------------------------------------------------------------------------------------

THAI = ["ภาษาไทยเป็นภาษาที่น่าสนใจและมีผู้พูดหลายล้านคน", "เขาไปตลาดเพื่อซื้อผลไม้และผักสด"]
KHMER = ["ភាសាខ្មែរជាភាសាផ្លូវការរបស់ប្រទេសកម្ពុជា"]


def worded(loaded: LoadedEncoder, texts: list[str], masking: str, rate: float = 0.15) -> tuple[Any, list[dict[str, Any]]]:
    """An objective and the rows it asks for."""
    objective: Any = MaskedLanguageModel(rate=rate, masking=masking)
    rows = TokenizedRows.of(
        objective.prepare(Dataset.from_dict({"text": texts})), loaded.tokenizer, 64, objective.roles(), "split", "", objective.word_ends()
    )
    return objective, rows.take(range(len(rows)))


@pytest.fixture(scope="module")
def marathi(data: Path) -> list[str]:
    with gzip.open(data / "raw" / "mr.txt.gz", "rt", encoding="utf-8") as handle:
        return [line.strip() for line in itertools.islice(handle, 500, 1500)]


@pytest.mark.parametrize("rate", [0.15, 0.3, 0.4])
@pytest.mark.parametrize("masking", ["whole-word", "span"])
def test_achieved_rates_of_words_and_spans(loaded: LoadedEncoder, marathi: list[str], masking: str, rate: float) -> None:
    objective, rows = worded(loaded, marathi, masking, rate)
    ordinary = sum(word >= 0 for row in rows for word in row["text.words"])
    found = [objective.collate(rows, loaded.tokenizer, np.random.default_rng(seed)).count for seed in range(4)]
    assert float(np.mean(found)) / ordinary == pytest.approx(rate, abs=0.01)
    short = [objective.collate(rows[i : i + 4], loaded.tokenizer, np.random.default_rng(i)).count for i in range(0, len(rows), 4)]
    assert sum(short) / ordinary == pytest.approx(rate, abs=0.015)  # small batches too


def test_whole_words_are_hidden_whole(loaded: LoadedEncoder, marathi: list[str]) -> None:
    objective, rows = worded(loaded, marathi[:200], "whole-word", 0.3)
    batch = objective.collate(rows, loaded.tokenizer, np.random.default_rng(0))
    hidden = [set(places) for places in batch.extra["positions"]]
    special = set(loaded.tokenizer.all_special_ids)  # an unknown piece is never predicted
    several = 0
    for row, places in zip(rows, hidden, strict=True):
        for word in {word for word in row["text.words"] if word >= 0}:
            pieces = {i for i, its in enumerate(row["text.words"]) if its == word and row["text"][i] not in special}
            assert pieces <= places or not pieces & places
            several += len(pieces) > 1 and pieces <= places
    assert several > 100


def test_spans_are_runs_of_words(loaded: LoadedEncoder, marathi: list[str]) -> None:
    objective, rows = worded(loaded, marathi, "span", 0.15)
    batch = objective.collate(rows, loaded.tokenizer, np.random.default_rng(0))
    lengths = []
    for row, places in zip(rows, batch.extra["positions"], strict=True):
        words = sorted({int(row["text.words"][place]) for place in places})
        runs = np.split(np.array(words), np.flatnonzero(np.diff(words) > 1) + 1) if words else []
        lengths += [len(run) for run in runs]
    # 3.8 on average; the ends of short sequences cut some.
    assert 2.5 < np.mean(lengths) < 4.2
    assert max(lengths) <= 10


@pytest.mark.parametrize("masking", ["span", "token-span"])
def test_a_span_has_one_fate(loaded: LoadedEncoder, marathi: list[str], masking: str) -> None:
    """SpanBERT's and LTG-BERT's rule: all tokens of a span become the mask, or random ones, or stay."""
    objective, rows = worded(loaded, marathi[:300], masking, 0.3)
    batch = objective.collate(rows, loaded.tokenizer, np.random.default_rng(0))
    mask, labels, mixed = loaded.tokenizer.mask_token_id, iter(batch.extra["labels"].tolist()), 0
    runs: list[list[str]] = []
    for ids, places in zip(batch.sequences, batch.extra["positions"], strict=True):
        for i, place in enumerate(places):
            token = next(labels)
            if i == 0 or place != places[i - 1] + 1:
                runs.append([])
            runs[-1].append("mask" if ids[place] == mask else "stays" if ids[place] == token else "random")
    long = [run for run in runs if len(run) > 2]
    mixed = sum("mask" in run and len(set(run)) > 1 for run in long)
    masked = sum(set(run) == {"mask"} for run in long)
    assert len(long) > 300
    # Tokens with fates of their own would leave half of the runs of three unmixed.  Spans of tokens may touch, and two fates meet.
    assert mixed / len(long) < (0.01 if masking == "span" else 0.4)
    assert masked / len(long) == pytest.approx(0.8 if masking == "span" else 0.73, abs=0.08)


class Scripted:
    """Gives what the rule asks of a generator, from lists."""

    def __init__(self, budgets: list[int], lengths: list[int], starts: list[int]) -> None:
        self.budgets, self.lengths, self.starts = iter(budgets), iter(lengths), iter(starts)
        self.bounds: list[tuple[int, int]] = []

    def binomial(self, count: int, rate: float) -> int:
        return next(self.budgets)

    def geometric(self, p: float) -> int:
        assert p == 1 / 3
        return next(self.lengths)

    def integers(self, low: int, high: int) -> int:
        self.bounds.append((low, high))
        return next(self.starts)


def test_spans_of_tokens_are_drawn_as_ltg_bert_draws_them() -> None:
    """Two sequences of 8 and 5 tokens, first and last special; what ltg-bert's own class hides from the same draws."""
    free = np.array([1, 2, 3, 4, 5, 6, 9, 10, 11])
    script = Scripted([3, 0], [2, 13, 10, 3, 4], [5, 4, 2, -1, 3])
    places, spans = masking.token_span(free, np.array([8, 5]), 0.15, script)  # type: ignore[arg-type]
    # First: [5, 7) hides 5, 6; 13 is 3 long, [4, 7) hides 4, 5, 6: three, enough.  Second: one at least; 10 is 0 long and hides nothing;
    # [-1, 2) hides 1, the first being special.
    assert places.tolist() == [4, 5, 6, 9]
    assert spans.tolist() == [1, 1, 1, 3]
    assert script.bounds == [(-1, 10), (-2, 11), (1, 5), (-2, 8)]
    assert next(script.lengths) == 4


def test_lengths_and_rate_of_spans_of_tokens(loaded: LoadedEncoder, marathi: list[str]) -> None:
    objective, rows = worded(loaded, marathi, "token-span", 0.15)
    long = [row for row in rows if len(row["text"]) == 64]
    special = set(loaded.tokenizer.all_special_ids)
    ordinary = sum(token not in special for row in long for token in row["text"])
    found = [objective.collate(long, loaded.tokenizer, np.random.default_rng(seed)).count for seed in range(4)]
    # The last span of a sequence hides more than was left: the share lies above the rate, as the authors' does.
    assert 0.15 < float(np.mean(found)) / ordinary < 0.19


@pytest.mark.parametrize(("texts", "words"), [(THAI, {"ภาษา", "ไทย", "ตลาด"}), (KHMER, {"កម្ពុជា", "ប្រទេស"})])
def test_words_of_scripts_without_spaces(texts: list[str], words: set[str]) -> None:
    objective = MaskedLanguageModel(masking="whole-word")
    ends = objective.word_ends()
    assert ends is not None
    found = {text[a:b] for text in texts for a, b in itertools.pairwise([0, *ends(text)])}
    assert words <= found
    with pytest.raises(DataError, match="white space"):
        MaskedLanguageModel(masking="whole-word", words="white-space").prepare(Dataset.from_dict({"text": texts}))


@pytest.mark.parametrize("words", ["icu", "white-space"])
def test_vowel_signs_and_joiners_stay_in_their_word(words: Any) -> None:
    text = "क्षत्रिय र\u200dय मराठी  आहे"
    ends = MaskedLanguageModel(masking="whole-word", words=words).word_ends()
    assert ends is not None
    assert [text[a:b].strip() for a, b in itertools.pairwise([0, *ends(text)])] == text.split()


def test_span_rate_that_leaves_no_gap(loaded: LoadedEncoder) -> None:
    objective, rows = worded(loaded, ["एक दोन तीन चार"] * 4, "span", 0.9)
    with pytest.raises(DataError, match=r"below 0\.79"):
        objective.collate(rows, loaded.tokenizer, np.random.default_rng(0))


def test_an_emoji_moves_no_words_end(data: Path) -> None:
    """ICU counts it as two."""
    ends = MaskedLanguageModel(masking="whole-word").word_ends()
    assert ends is not None
    text = "😀 love 👨‍👩‍👧 it आहे 😂😂 क्षत्रिय word"
    words = [text[a:b].strip() for a, b in itertools.pairwise([0, *ends(text)])]
    assert words == ["😀", "love", "👨‍👩‍👧", "it", "आहे", "😂", "😂", "क्षत्रिय", "word"]
    with gzip.open(data / "raw" / "id-tweets.txt.gz", "rt", encoding="utf-8") as handle:
        tweets = [line.rstrip("\n") for line in itertools.islice(handle, 3000)]
    emotional = [tweet for tweet in tweets if max(tweet, default="") > "\uffff"]
    assert len(emotional) > 100
    for tweet in emotional:
        places = set(ends(tweet))
        assert max(places) <= len(tweet)
        inside = {
            i for i in range(1, len(tweet)) if tweet[i - 1].isalpha() and tweet[i].isalpha() and ord(tweet[i]) < 0x250 > ord(tweet[i - 1])
        }
        assert not places & inside, tweet


def test_random_tokens_are_any_but_special_ones() -> None:
    special = np.array([0, 1, 5, 9])
    assert ordinary_ids(np.arange(6), special).tolist() == [2, 3, 4, 6, 7, 8]
    assert ordinary_ids(np.arange(3), special[:0]).tolist() == [0, 1, 2]


def test_the_first_word_is_hidden_as_often_as_any(loaded: LoadedEncoder, marathi: list[str]) -> None:
    """A batch does not begin with a gap every time."""
    objective, rows = worded(loaded, marathi, "span", 0.3)
    row = next(row for row in rows if len(row["text"]) > 20)
    words = np.asarray(row["text.words"])
    first = words[words >= 0][0]
    hidden = 0
    for seed in range(400):
        places = objective.collate([row], loaded.tokenizer, np.random.default_rng(seed)).extra["positions"][0]
        hidden += any(words[place] == first for place in places)
    assert 0.22 < hidden / 400 < 0.38
