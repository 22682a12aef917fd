"""Pair objectives against sentence-transformers' losses and losses by hand."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from langadapt_objectives.contrastive import MultipleNegatives
from langadapt_objectives.cosent import Cosent, ordered
from langadapt_objectives.nli import NliSoftmax
from langadapt_objectives.nli_triplets import triplets
from langadapt_objectives.sts import CosineSts
from langadapt_objectives.triplet import Triplet

from langadapt.artifacts import encoder as encoders
from langadapt.artifacts.encoder import LoadedEncoder
from langadapt.contracts import EncoderSpec, Models
from langadapt.errors import DataError
from langadapt.modeling.encoder import EncoderModule
from langadapt.modeling.pooling import Mean

SENTENCES = [
    "एक माणूस गिटार वाजवत आहे.",
    "कोणीतरी वाद्य वाजवत आहे.",
    "मुले मैदानात खेळत आहेत.",
    "मुले बाहेर आहेत.",
    "ती बाजारात भाजी विकते.",
    "ती काहीतरी विकते.",
    "आज पुण्यात खूप पाऊस पडला.",
    "पुण्यात पाऊस झाला.",
    "शिक्षक वर्गात शिकवत आहेत.",
    "कोणीतरी शिकवत आहे.",
    "मुले घरात झोपली आहेत.",
    "पुण्यात आज ऊन होते.",
]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def loaded(tiny: Path) -> LoadedEncoder:
    return encoders.load(tiny)


@pytest.fixture(scope="module")
def encoder(loaded: LoadedEncoder) -> EncoderModule:
    return loaded.module(Mean()).eval()


def ids(loaded: LoadedEncoder, text: str) -> list[int]:
    found: list[int] = loaded.tokenizer(text)["input_ids"]
    return found


def theirs(name: str, **options: Any) -> Any:
    """A loss of sentence-transformers, for embeddings already made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers import losses
    return getattr(losses, name)(model=torch.nn.Identity(), **options)


def vectors(encoder: EncoderModule, loaded: LoadedEncoder, texts: list[str]) -> torch.Tensor:
    return torch.cat([encoder.embed([ids(loaded, text)]) for text in texts])


def pairs(loaded: LoadedEncoder, rows: list[tuple[str, ...]]) -> list[dict[str, Any]]:
    names = ("anchor", "positive", "negative")
    return [{name: ids(loaded, text) for name, text in zip(names, row, strict=False)} for row in rows]


@pytest.mark.parametrize("scale", [20.0, 5.0])
@pytest.mark.parametrize("hard", [False, True])
def test_multiple_negatives_equals_sentence_transformers(loaded: LoadedEncoder, encoder: EncoderModule, scale: float, hard: bool) -> None:
    objective = MultipleNegatives(scale=scale)
    columns = [SENTENCES[:4], SENTENCES[4:8], *([SENTENCES[8:12]] if hard else [])]
    rows = pairs(loaded, list(zip(*columns, strict=True)))
    batch = objective.collate(rows, loaded.tokenizer, np.random.default_rng(0))
    found = objective.loss(Models(encoder), batch, 0).total / batch.count
    embeddings = [vectors(encoder, loaded, column) for column in columns]
    expected = theirs("MultipleNegativesRankingLoss", scale=scale).compute_loss_from_embeddings(embeddings, None)
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)
    gradients = [torch.autograd.grad(loss, encoder.model.embeddings.LayerNorm.weight)[0] for loss in (found, expected)]
    assert torch.allclose(*gradients, atol=1e-5)


def test_repeated_texts_are_no_negatives(loaded: LoadedEncoder, encoder: EncoderModule) -> None:
    a, b, c, d, e, f = SENTENCES[:6]
    # Anchor a twice with two positives; the third row's positive is the first anchor; a hard negative repeats a positive.
    rows = [(a, b, e), (a, c, f), (d, a, b)]
    objective = MultipleNegatives()
    batch = objective.collate(pairs(loaded, rows), loaded.tokenizer, np.random.default_rng(0))
    found = float(objective.loss(Models(encoder), batch, 0).total.detach())
    unit = {
        text: vector / np.linalg.norm(vector)
        for text, vector in zip((a, b, c, d, e, f), vectors(encoder, loaded, [a, b, c, d, e, f]).detach().numpy(), strict=True)
    }
    candidates = [row[1] for row in rows] + [row[2] for row in rows]
    expected = 0.0
    for i, (anchor, positive, _) in enumerate(rows):
        logits = [20 * unit[anchor] @ unit[text] for j, text in enumerate(candidates) if j == i or text not in (anchor, positive)]
        own = 20 * unit[anchor] @ unit[positive]
        expected += float(np.log(np.exp(np.array(logits) - own).sum()))
    assert found == pytest.approx(expected, abs=1e-4)
    plain = theirs("MultipleNegativesRankingLoss").compute_loss_from_embeddings(
        [vectors(encoder, loaded, [row[k] for row in rows]) for k in range(3)], None
    )
    assert abs(plain.item() * 3 - expected) > 0.1  # without the mask it is another loss


def test_rows_may_lack_a_hard_negative(loaded: LoadedEncoder) -> None:
    rows = pairs(loaded, [tuple(SENTENCES[:3]), tuple(SENTENCES[3:5])])
    rows[1]["negative"] = None
    batch = MultipleNegatives().collate(rows, loaded.tokenizer, np.random.default_rng(0))
    assert batch.count == 2
    assert batch.sequences == [ids(loaded, SENTENCES[i]) for i in (0, 3, 1, 4, 2)]


NLI = [
    ("p1", "e1", "entailment"),
    ("p1", "n1", "neutral"),
    ("p2", "e2", "entailment"),
    ("p1", "c1", "contradiction"),
    ("p1", "e3", "entailment"),
    ("p1", "c2", "contradiction"),
    ("p1", "e4", "entailment"),
    ("p3", "c3", "contradiction"),
    ("p4", "e3", "contradiction"),
]


def nli_data() -> Dataset:
    return Dataset.from_list([dict(zip(("premise", "hypothesis", "label"), row, strict=True)) for row in NLI])


def test_triplets_of_premises() -> None:
    found = [tuple(row.values()) for row in triplets(nli_data(), "premise")]
    assert found == [("p1", "e1", "c1"), ("p2", "e2", None), ("p1", "e3", "c2"), ("p1", "e4", "c1")]
    assert [tuple(row.values()) for row in MultipleNegatives(anchors="premise").prepare(nli_data())] == found
    with pytest.raises(DataError, match="entailment"):
        MultipleNegatives().prepare(nli_data().filter(lambda row: row["label"] != "entailment"))


def published(rows: list[tuple[str, str, str]]) -> dict[str, dict[str, set[str]]]:
    """What training_nli_v2.py of sentence-transformers draws from: of each text with both, what it entails and what it contradicts."""
    related: dict[str, dict[str, set[str]]] = {}
    for first, second, label in rows:
        for text, partner in ((first, second), (second, first)):
            related.setdefault(text, {"entailment": set(), "neutral": set(), "contradiction": set()})[label].add(partner)
    return {text: found for text, found in related.items() if found["entailment"] and found["contradiction"]}


def test_triplets_of_both_directions_are_among_the_published_ones() -> None:
    found = [(row["anchor"], row["positive"], row["negative"]) for row in triplets(nli_data(), "both")]
    allowed = published(NLI)
    assert set(allowed) == {"p1", "e3"}, "a hypothesis with both, read backwards, is an anchor too"
    whole = [row for row in found if row[2] is not None]
    assert len(whole) == 2 * len(allowed)
    for number, text in enumerate(allowed):
        (one, positive, negative), (other_positive, two, other_negative) = whole[2 * number : 2 * number + 2]
        assert one == two == text
        assert {positive, other_positive} <= allowed[text]["entailment"]
        assert {negative, other_negative} <= allowed[text]["contradiction"]
    assert [row for row in found if row[2] is None] == [("p2", "e2", None)], "a pair without anything contradicted stays"
    assert found == [(row["anchor"], row["positive"], row["negative"]) for row in MultipleNegatives().prepare(nli_data())]
    many = [("p", f"e{i}", "entailment") for i in range(9)] + [("p", f"c{i}", "contradiction") for i in range(9)]
    drawn = triplets([dict(zip(("premise", "hypothesis", "label"), row, strict=True)) for row in many], "both")
    assert drawn[0]["positive"] != drawn[1]["anchor"], "each of the two is drawn for itself"


def test_cosine_sts_equals_sentence_transformers(loaded: LoadedEncoder, encoder: EncoderModule) -> None:
    scores = [0.0, 0.25, 0.5, 0.9, 1.0, 0.33]
    rows = [
        {"sentence1": ids(loaded, a), "sentence2": ids(loaded, b), "score": score}
        for a, b, score in zip(SENTENCES[:6], SENTENCES[6:], scores, strict=True)
    ]
    batch = CosineSts().collate(rows, loaded.tokenizer, np.random.default_rng(0))
    assert batch.count == 6
    found = CosineSts().loss(Models(encoder), batch, 0).total / batch.count
    both = [vectors(encoder, loaded, SENTENCES[:6]), vectors(encoder, loaded, SENTENCES[6:])]
    expected = theirs("CosineSimilarityLoss").compute_loss_from_embeddings(both, torch.tensor(scores))
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)


class Table:
    """Stands for an encoder whose vectors are fixed: the vector of [i] is row i."""

    def __init__(self, rows: torch.Tensor) -> None:
        self.rows = rows

    def embed(self, sequences: list[list[int]]) -> torch.Tensor:
        return self.rows[[ids[0] for ids in sequences]]


def test_nli_softmax_by_hand_and_learning() -> None:
    torch.manual_seed(0)
    table: Any = Table(torch.randn(120, 6))
    labels = ["entailment", "neutral", "contradiction"]
    distance = (table.rows[0::2] - table.rows[1::2]).abs().sum(1)
    cuts = np.quantile(distance.numpy(), [1 / 3, 2 / 3])
    rows = [
        {"premise": [2 * i], "hypothesis": [2 * i + 1], "label": labels[int(np.searchsorted(cuts, float(d)))]}
        for i, d in enumerate(distance)
    ]
    objective = NliSoftmax()
    head: Any = objective.build(EncoderSpec("table", 6, 1, 1, 9, 0, output_width=6))
    assert head.weight.shape == (3, 18)
    batch = objective.collate(rows, None, np.random.default_rng(0))  # type: ignore[arg-type]
    u, v = table.rows[0::2], table.rows[1::2]
    logits = head(torch.cat([u, v, (u - v).abs()], 1))
    targets = torch.tensor([labels.index(row["label"]) for row in rows])
    expected = -torch.log_softmax(logits, 1)[range(60), targets].sum()
    first = objective.loss(Models(table, head), batch, 0).total
    assert batch.count == 60
    assert first.item() == pytest.approx(expected.item(), rel=1e-5)
    optimizer = torch.optim.Adam(head.parameters(), 0.1)
    for step in range(80):
        optimizer.zero_grad()
        objective.loss(Models(table, head), batch, step).total.backward()
        optimizer.step()
    found = head(torch.cat([u, v, (u - v).abs()], 1)).argmax(1)
    assert float((found == targets).float().mean()) > 0.85


def test_nli_softmax_wants_more_than_one_label() -> None:
    data = Dataset.from_list([{"premise": "a", "hypothesis": "b", "label": "neutral", "origin": "x"}] * 3)
    with pytest.raises(DataError, match="neutral"):
        NliSoftmax().prepare(data)


@pytest.mark.parametrize("scale", [20.0, 5.0])
def test_cosent_equals_sentence_transformers(loaded: LoadedEncoder, encoder: EncoderModule, scale: float) -> None:
    scores = [0.9, 0.1, 0.5, 0.5, 0.0, 1.0]
    rows = [
        {"sentence1": ids(loaded, a), "sentence2": ids(loaded, b), "score": score}
        for a, b, score in zip(SENTENCES[::2], SENTENCES[1::2], scores, strict=True)
    ]
    objective = Cosent(scale=scale)
    batch = objective.collate(rows, loaded.tokenizer, np.random.default_rng(0))
    found = objective.loss(Models(encoder), batch, 0).total / batch.count
    embeddings = [vectors(encoder, loaded, SENTENCES[::2]), vectors(encoder, loaded, SENTENCES[1::2])]
    expected = theirs("CoSENTLoss", scale=scale).compute_loss_from_embeddings(embeddings, torch.tensor(scores))
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)
    gradients = [torch.autograd.grad(loss, encoder.model.embeddings.LayerNorm.weight)[0] for loss in (found, expected)]
    assert torch.allclose(*gradients, atol=1e-5)


def test_cosent_by_hand() -> None:
    cosines, scores = torch.tensor([0.2, 0.5, 0.1]), torch.tensor([3.0, 1.0, 1.0])
    expected = np.log(1 + np.exp(2 * (0.5 - 0.2)) + np.exp(2 * (0.1 - 0.2)))
    assert ordered(cosines, scores, 2.0).item() == pytest.approx(expected, abs=1e-6)
    assert ordered(cosines, torch.ones(3), 2.0).item() == 0.0
    assert ordered(cosines, 10 * scores - 7, 2.0).item() == pytest.approx(expected, abs=1e-6)  # of scores only the order counts


@pytest.mark.parametrize(("distance", "metric"), [("euclidean", "EUCLIDEAN"), ("cosine", "COSINE")])
@pytest.mark.parametrize("margin", [1.0, 0.05])
def test_triplets_equal_sentence_transformers(
    loaded: LoadedEncoder, encoder: EncoderModule, distance: Any, metric: str, margin: float
) -> None:
    from sentence_transformers.losses import TripletDistanceMetric

    columns = [SENTENCES[:4], SENTENCES[4:8], SENTENCES[8:12]]
    objective = Triplet(margin=margin, distance=distance)
    batch = objective.collate(pairs(loaded, list(zip(*columns, strict=True))), loaded.tokenizer, np.random.default_rng(0))
    found = objective.loss(Models(encoder), batch, 0)
    loss = theirs("TripletLoss", distance_metric=getattr(TripletDistanceMetric, metric), triplet_margin=margin)
    expected = loss.compute_loss_from_embeddings([vectors(encoder, loaded, column) for column in columns], None)
    assert (found.total / batch.count).item() == pytest.approx(expected.item(), abs=1e-5)
    assert found.metrics["violated"] <= batch.count


def test_triplets_of_nli_rows_have_a_negative() -> None:
    rows = [
        {"premise": "p", "hypothesis": "e", "label": "entailment"},
        {"premise": "p", "hypothesis": "c", "label": "contradiction"},
        {"premise": "q", "hypothesis": "f", "label": "entailment"},
    ]
    first = {"anchor": "p", "positive": "e", "negative": "c"}
    assert Triplet().prepare(Dataset.from_list(rows)).to_list() == [first, {"anchor": "e", "positive": "p", "negative": "c"}]
    assert Triplet(anchors="premise").prepare(Dataset.from_list(rows)).to_list() == [first]
    with pytest.raises(DataError, match="no row has a negative"):
        Triplet().prepare(Dataset.from_list(rows[2:]))
