"""BERTScore by loops over single tokens, and on real pairs."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from langadapt_evaluators.bertscore import BertScore, greedy, inverse_frequencies, similarity
from scipy.stats import spearmanr

from langadapt.contracts.component import Context
from langadapt.errors import DataError
from langadapt.inference.encoder import Encoder
from langadapt.manifests.resource import PathSource, Resource, Sources
from langadapt.planning.pinning import pin_paths

pytestmark = pytest.mark.usefixtures("one_thread")

LEFT = ["एक माणूस गिटार वाजवत आहे.", "मुले मैदानात खेळत आहेत.", "आज पाऊस पडला."]
RIGHT = ["एक माणूस गिटार वाजवत आहे.", "मुले बाहेर खेळत आहेत.", "ती बाजारात भाजी विकते."]


@pytest.fixture(scope="module")
def encoder(tiny: Path) -> Encoder:
    return Encoder.load(tiny, device="cpu")


def by_loops(encoder: Encoder, one: str, other: str, weights: dict[int, float] | None) -> tuple[float, float, float]:
    """The definitions, token by token, on states of the plain model."""
    special = set(encoder.tokenizer.all_special_ids)
    ids = [encoder.tokenizer(text)["input_ids"] for text in (one, other)]
    states = encoder.token_states(ids)

    def side(mine: int, theirs: int) -> float:
        total = whole = 0.0
        for token, state in zip(ids[mine], states[mine], strict=True):
            weight = 0.0 if token in special else 1.0 if weights is None else weights[token]
            best = max(float(state @ s / np.linalg.norm(state) / np.linalg.norm(s)) for s in states[theirs])
            total, whole = total + weight * best, whole + weight
        return total / whole

    precision, recall = side(0, 1), side(1, 0)
    return precision, recall, 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("idf", [False, True])
def test_it_is_the_papers(encoder: Encoder, idf: bool) -> None:
    found = similarity(encoder, LEFT, RIGHT, idf, Context())
    ids = [encoder.tokenizer(text)["input_ids"] for text in RIGHT]
    weights = None
    if idf:
        of = {token: sum(token in one for one in ids) for one in ids for token in one}
        unseen = {token: 0 for text in LEFT for token in encoder.tokenizer(text)["input_ids"]}
        weights = {token: float(np.log(4 / (count + 1))) for token, count in (unseen | of).items()}
        known = inverse_frequencies(ids)
        assert all(known[token] == pytest.approx(weights[token]) for token in known)
    for row, one, other in zip(found, LEFT, RIGHT, strict=True):
        assert row.tolist() == pytest.approx(by_loops(encoder, one, other, weights), abs=1e-5)
    assert found[0].tolist() == pytest.approx([1, 1, 1], abs=1e-5)
    assert found[1, 2] > found[2, 2]
    assert greedy(np.ones((2, 3)), np.ones((2, 3)), np.zeros(2), np.zeros(2)) == (0.0, 0.0, 0.0)


def test_real_pairs(encoder: Encoder, data: Path, tmp_path: Path) -> None:
    with gzip.open(data / "stsb" / "mr" / "dev.tsv.gz", "rt", encoding="utf-8") as handle:
        lines = [line for _, line in zip(range(151), handle, strict=False)]
    table = tmp_path / "sts.tsv"
    table.write_text("".join(lines), encoding="utf-8")
    found = Resource(name="sts", format="sts", sources=Sources(path=PathSource(paths=[str(table)])))
    resource = found.model_copy(update={"pinned": pin_paths(found, (table,), "test")})
    first, _ = BertScore(data=resource, samples=100).evaluate(encoder, Context())
    rows = [line.rstrip("\n").split("\t") for line in lines]
    place = {name: i for i, name in enumerate(rows[0])}
    pairs = [[row[place[name]] for row in rows[1:]] for name in ("sentence1", "sentence2", "score")]
    f1 = similarity(encoder, pairs[0], pairs[1], False, Context())[:, 2]
    assert first.value == pytest.approx(100 * spearmanr(f1, [float(one) for one in pairs[2]]).statistic, abs=1e-6)
    assert first.low is not None
    assert first.low > 20
    layer, _ = BertScore(data=resource, layer=0, samples=100).evaluate(encoder, Context())
    assert layer.value != first.value
    table.write_text(lines[0] + lines[1] * 3, encoding="utf-8")
    again = found.model_copy(update={"pinned": pin_paths(found, (table,), "test")})
    with pytest.raises(DataError, match="3 pairs with 1 different scores"):
        BertScore(data=again).evaluate(encoder, Context())
