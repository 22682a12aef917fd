"""Alignment on real English-Marathi sentences; distillation on a real encoder and real text."""

from __future__ import annotations

import csv
import gzip
import itertools
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from langadapt_vocab.alignment import DIAGONAL, Alignment, align
from langadapt_vocab.distil import Distil, stretches
from langadapt_vocab.subword import MeanSubword

from langadapt.artifacts import encoder as encoders
from langadapt.contracts.component import Context
from langadapt.contracts.vocabulary import Vocab
from langadapt.errors import DataError, ModelError
from langadapt.manifests.resource import PathSource, Resource, Sources
from langadapt.modeling.surgery import apply_mixture, vocab_of
from langadapt.planning.pinning import pin_paths

pytestmark = pytest.mark.usefixtures("one_thread")


def resource(path: Path, **columns: str) -> Resource:
    found = Resource(name="parallel", format="parallel", columns=columns, sources=Sources(path=PathSource(paths=[str(path)])))
    return found.model_copy(update={"pinned": pin_paths(found, (path,), "test")})


@pytest.fixture(scope="module")
def sentences(data: Path) -> list[tuple[str, str]]:
    with gzip.open(data / "tatoeba-en-mr" / "train.tsv.gz", "rt", encoding="utf-8") as handle:
        return [(row["en"], row["mr"]) for row in itertools.islice(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE), 20_000)]


@pytest.fixture(scope="module")
def vocabularies(sentences: list[tuple[str, str]], registry: Any) -> tuple[Vocab, Vocab]:
    """An English vocabulary with rows, and a Marathi one."""
    made = []
    for side in (0, 1):
        slot = {"use": "wordpiece", "vocab_size": 3000}
        made.append(vocab_of(registry.build("tokenizer", slot).train([pair[side] for pair in sentences], None, Context())))
    rows = np.random.default_rng(5).standard_normal((len(made[0].tokens), 16)).astype(np.float32)
    return Vocab(made[0].tokens, made[0].tokenizer, made[0].special, rows), made[1]


def test_marathi_words_take_the_rows_of_their_translations(vocabularies: tuple[Vocab, Vocab], data: Path) -> None:
    old, new = vocabularies
    method = Alignment(parallel=resource(data / "tatoeba-en-mr" / "train.tsv.gz", source="en", target="mr"), max_sentences=20_000)
    found = method.mixture(old, new, None, Context())
    weights = found.weights.tocsr()
    strongest = {}
    for i, word in enumerate(found.provenance):
        if word == "aligned":
            low, high = weights.indptr[i], weights.indptr[i + 1]
            assert weights.data[low:high].sum() == pytest.approx(1, abs=1e-5)
            strongest[new.tokens[i]] = old.tokens[weights.indices[low + np.argmax(weights.data[low:high])]]
    assert len(strongest) > 1000
    expected = {"पाणी": "water", "पुस्तक": "book", "मला": "i", "आई": "mother", "दोन": "two", "टॉम": "tom"}
    lowered = {token: strongest[token].lower() for token in expected}
    assert sum(lowered[token] == english for token, english in expected.items()) >= 5, lowered
    assert found.provenance[new.special["mask"]] == "copied"
    assert set(found.provenance) <= {"copied", "aligned", "mean of pieces", "mean of all"}


def test_expectation_maximisation_against_plain_loops(sentences: list[tuple[str, str]], vocabularies: tuple[Vocab, Vocab]) -> None:
    old, new = vocabularies
    few = [pair for pair in sentences if len(pair[0].split()) < 6][:60]
    left = [old.tokenizer.encode(a, add_special_tokens=False) for a, _ in few]
    right = [new.tokenizer.encode(b, add_special_tokens=False) for _, b in few]
    fast = align(left, right, (len(old.tokens), len(new.tokens)), 3)
    slow = by_loops(left, right, len(new.tokens), 3)
    assert len(slow) == fast.nnz
    assert max(abs(fast[t, s] - value) for (t, s), value in slow.items()) < 1e-5


def by_loops(left: list[list[int]], right: list[list[int]], size: int, rounds: int) -> dict[tuple[int, int], float]:
    """IBM model 1 with a diagonal prior and a share of 0.08 for nothing, as the papers write it."""
    meets: dict[int, set[int]] = defaultdict(set)
    for a, b in zip(left, right, strict=True):
        for s in a:
            meets[s] |= set(b)
    chance = {(t, s): 1 / len(found) for s, found in meets.items() for t in found}
    nothing = dict.fromkeys(range(size), 1 / size)
    counts: dict[tuple[int, int], float] = {}
    for _ in range(rounds):
        counts, empty = defaultdict(float), defaultdict(float)
        for a, b in zip(left, right, strict=True):
            for j, t in enumerate(b):
                prior = [np.exp(-DIAGONAL * abs((j + 0.5) / len(b) - (i + 0.5) / len(a))) for i in range(len(a))]
                scores = [0.92 * chance[t, s] * p / sum(prior) for s, p in zip(a, prior, strict=True)]
                total = sum(scores) + 0.08 * nothing[t]
                empty[t] += 0.08 * nothing[t] / total
                for s, score in zip(a, scores, strict=True):
                    counts[t, s] += score / total
        sums: dict[int, float] = defaultdict(float)
        for (_, s), value in counts.items():
            sums[s] += value
        chance = {(t, s): value / sums[s] for (t, s), value in counts.items()}
        nothing = {t: empty[t] / sum(empty.values()) for t in range(size)}
    return counts


def test_sentences_all_too_long(vocabularies: tuple[Vocab, Vocab], tmp_path: Path) -> None:
    file = tmp_path / "long.tsv"
    file.write_text("source\ttarget\nThis is a sentence.\tहे एक वाक्य आहे.\n", encoding="utf-8")
    method = Alignment(parallel=resource(file), max_length=2)
    with pytest.raises(DataError, match="1 to 2 known pieces"):
        method.mixture(*vocabularies, None, Context())


# distil -------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tweets(data: Path) -> list[str]:
    with gzip.open(data / "raw" / "id-tweets.txt.gz", "rt", encoding="utf-8") as handle:
        return [line.strip() for line in itertools.islice(handle, 600)]


@pytest.mark.slow
def test_distilled_rows_bring_the_old_states_back(tiny: Path, registry: Any, tweets: list[str]) -> None:
    """On texts that were not trained on, the extended encoder is closer to the old one than with the mean of the pieces."""
    train, held = tweets[:500], tweets[500:]
    loaded = encoders.load(tiny, mlm_head=False)
    extended = registry.build("tokenizer", {"use": "extend", "budget": 150}).train(train, loaded.tokenizer, Context())
    old, new = vocab_of(loaded.tokenizer, loaded.model), vocab_of(extended)
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    found = Distil(steps=40, batch_size=16).mixture(old, new, train, Context())
    assert all(torch.equal(value, before[name]) for name, value in loaded.model.state_dict().items()), "the encoder itself was trained"
    assert all(parameter.requires_grad for parameter in loaded.model.parameters())
    once, again = (Distil(steps=5, batch_size=16).mixture(old, new, train, Context()) for _ in range(2))
    assert all(np.array_equal(row, again.rows[i]) for i, row in once.rows.items())
    assert found.provenance.count("distilled") == len(found.rows) > 100
    distance = {}
    for name, mixture in (("mean", MeanSubword().mixture(old, new, train, Context())), ("distilled", found)):
        other = encoders.load(tiny, mlm_head=False)
        apply_mixture(other.model, mixture, loaded.tokenizer, extended)
        a, b = stretches(old, new, held)
        with torch.no_grad():
            states = [m(input_ids=x.ids, attention_mask=x.mask).last_hidden_state for m, x in ((loaded.model, a), (other.model, b))]
        left, right = (torch.stack([s[x.parts == i].mean(0) for i in range(x.count)]) for s, x in zip(states, (a, b), strict=True))
        distance[name] = float((left - right).pow(2).mean())
    assert distance["distilled"] < 0.98 * distance["mean"], distance


def test_stretches_end_where_both_segmentations_do(tiny: Path, registry: Any, tweets: list[str]) -> None:
    tokenizer = encoders.load(tiny, mlm_head=False).tokenizer
    extended = registry.build("tokenizer", {"use": "extend", "budget": 150}).train(tweets, tokenizer, Context())
    a, b = stretches(vocab_of(tokenizer), vocab_of(extended), tweets[:50])
    assert a.count == b.count > 500
    for row_a, row_b, ids_a, ids_b in zip(a.parts, b.parts, a.ids, b.ids, strict=True):
        for part in set(row_a[row_a >= 0].tolist()):
            spelt = [t.decode(i[p == part].tolist()).replace(" ", "") for t, i, p in ((tokenizer, ids_a, row_a), (extended, ids_b, row_b))]
            assert spelt[0] == spelt[1]


def test_distil_asks_for_text(tiny: Path) -> None:
    loaded = encoders.load(tiny, mlm_head=False)
    vocabulary = vocab_of(loaded.tokenizer, loaded.model)
    with pytest.raises(ModelError, match="corpus"):
        Distil().mixture(vocabulary, vocabulary, None, Context())


def test_unknown_pieces_align_with_nothing(sentences: list[tuple[str, str]], registry: Any, tmp_path: Path) -> None:
    """A base that spells half of the English words: no row is the unknown piece's."""
    english, marathi = [a for a, _ in sentences[:3000]], [b for _, b in sentences[:3000]]
    latin = registry.build("tokenizer", {"use": "wordpiece", "vocab_size": 600})
    old = latin.train([text.replace("e", "") for text in english], None, Context())
    new = registry.build("tokenizer", {"use": "wordpiece", "vocab_size": 800}).train(marathi, None, Context())
    rows = np.random.default_rng(0).standard_normal((len(old), 8)).astype(np.float32)
    before, after = vocab_of(old), vocab_of(new)
    before = Vocab(before.tokens, before.tokenizer, before.special, rows)
    file = tmp_path / "parallel.tsv"
    file.write_text("source\ttarget\n" + "".join(f"{a}\t{b}\n" for a, b in sentences[:3000] if "\t" not in a + b), encoding="utf-8")
    found = Alignment(parallel=resource(file)).mixture(before, after, None, Context())
    aligned = [i for i, word in enumerate(found.provenance) if word == "aligned"]
    assert len(aligned) > 200
    assert not found.weights[aligned][:, [before.special["unk"]]].nnz
    file.write_text("source\ttarget\neee\teee\n", encoding="utf-8")
    with pytest.raises(DataError, match="none of 1 sentence pairs|align 0 of"):
        Alignment(parallel=resource(file)).mixture(before, after, None, Context())
