"""Retrieval scores against sums by hand on a plane, ties, held-out passages, and sets that are broken."""

from __future__ import annotations

import gzip
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from langadapt_evaluators.retrieval import Retrieval

from langadapt.contracts.component import Context
from langadapt.contracts.results import Score
from langadapt.data.retrieval import held_out
from langadapt.errors import DataError
from langadapt.inference.encoder import Encoder
from langadapt.manifests.resource import PathSource, Resource, Sources
from langadapt.planning.pinning import pin_paths

pytestmark = pytest.mark.usefixtures("one_thread")

Plane = Callable[..., Encoder]


def resource(*paths: Path, **options: Any) -> Resource:
    found = Resource(name="pairs", format="retrieval", sources=Sources(path=PathSource(paths=[str(p) for p in paths])), **options)
    return found.model_copy(update={"pinned": pin_paths(found, tuple(path.absolute() for path in paths), "here")})


@pytest.fixture
def plane(tmp_path: Path) -> Plane:
    """An encoder without layers: the word ``aN`` becomes the vector at N degrees."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    def make(angles: list[int]) -> Encoder:
        words = {"[PAD]": 0, "[UNK]": 1, **{f"a{angle}": i for i, angle in enumerate(angles, 2)}}
        config = BertConfig(vocab_size=len(words), hidden_size=3, num_hidden_layers=0, num_attention_heads=1, layer_norm_eps=1e-12)
        model = BertModel(config, add_pooling_layer=False)
        # Zero-mean vectors of one length: what a layer norm leaves as it is, but for its scale.
        across, up = torch.tensor([1.0, -1, 0]) / 2**0.5, torch.tensor([1.0, 1, -2]) / 6**0.5
        for weight in model.embeddings.parameters():
            torch.nn.init.zeros_(weight)
        torch.nn.init.ones_(model.embeddings.LayerNorm.weight)
        for angle in angles:
            turn = math.radians(angle)
            model.embeddings.word_embeddings.weight.data[words[f"a{angle}"]] = math.cos(turn) * across + math.sin(turn) * up
        tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        folder = tmp_path / "plane"
        model.save_pretrained(folder)
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
        return Encoder.load(folder, device="cpu")

    return make


def beir(folder: Path, corpus: dict[str, str], queries: dict[str, str], qrels: list[tuple[str, str, float]]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, texts in (("corpus", corpus), ("queries", queries)):
        lines = (json.dumps({"_id": key, "text": text}) + "\n" for key, text in texts.items())
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    judged = "".join(f"{q}\t{d}\t{grade}\n" for q, d, grade in qrels)
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged, encoding="utf-8")
    return folder


def values(scores: list[Score]) -> dict[str, float]:
    return {score.metric: score.value for score in scores}


CORPUS = {"p0": "a0", "p20": "a20", "p50": "a50", "again": "a50", "p90": "a90", "p180": "a180"}
QUERIES = {"first": "a5", "third": "a44", "tied": "a52", "far": "a170"}
QRELS = [("first", "p0", 1), ("third", "p20", 2), ("third", "p180", 1), ("tied", "p50", 1), ("far", "p0", 1), ("far", "p90", 0)]
ANGLES = [0, 20, 50, 90, 180, 5, 44, 52, 170]


def test_by_hand_on_a_plane(plane: Plane, tmp_path: Path) -> None:
    """Ranks by angle: first 1; third 3 (behind the two at 50°) and 6; tied 2 of two equal ones; far 6, out of the best five."""
    found = Retrieval(data=resource(beir(tmp_path / "set", CORPUS, QUERIES, QRELS)), k=5).evaluate(plane(ANGLES), Context())
    assert [score.metric for score in found] == ["mrr@5", "ndcg@5", "recall@5", "accuracy@1"]
    assert all((score.task, score.n, score.unit) == ("pairs", 4, "×100") for score in found)
    third = (2 / math.log2(4)) / (2 / math.log2(2) + 1 / math.log2(3))
    by_hand = [(1 + 1 / 3 + 1 / 2 + 0) / 4, (1 + third + 1 / math.log2(3) + 0) / 4, (1 + 1 / 2 + 1 + 0) / 4, 1 / 4]
    assert [score.value for score in found] == pytest.approx([100 * value for value in by_hand])


def test_intervals_over_queries(plane: Plane, tmp_path: Path) -> None:
    """One right of four: of four draws none is right in 32 %, three or more in 5.1 %, all four in 0.4 %."""
    evaluator = Retrieval(data=resource(beir(tmp_path / "set", CORPUS, QUERIES, QRELS)), k=5, samples=4000)
    encoder = plane(ANGLES)
    found = evaluator.evaluate(encoder, Context())
    assert (found[3].low, found[3].high) == (0, 75)
    assert all(score.low < score.value < score.high for score in found)  # type: ignore[operator]
    assert evaluator.evaluate(encoder, Context()) == found


def test_equal_vectors_earn_nothing(plane: Plane, tmp_path: Path) -> None:
    """An encoder that maps everything to one point must not look good by the order of its passages."""
    corpus = {f"d{i}": "a30" for i in range(30)}
    folder = beir(tmp_path / "set", corpus, {f"q{i}": "a30" for i in range(30)}, [(f"q{i}", f"d{i}", 1) for i in range(30)])
    assert set(values(Retrieval(data=resource(folder)).evaluate(plane([30]), Context())).values()) == {0}


def test_k_larger_than_what_is_relevant_and_smaller(plane: Plane, tmp_path: Path) -> None:
    """Recall counts against what k allows."""
    folder = beir(tmp_path / "set", CORPUS, {"q": "a5", "r": "a170"}, [("q", "p0", 1), ("q", "p20", 1), ("q", "p180", 1), ("r", "p180", 1)])
    encoder = plane(ANGLES)
    two, ten = (values(Retrieval(data=resource(folder), k=k).evaluate(encoder, Context())) for k in (2, 10))
    assert (two["recall@2"], ten["recall@10"]) == (100, 100)
    assert two["ndcg@2"] == pytest.approx(100)
    last = (1 + 1 / math.log2(3) + 1 / math.log2(7)) / (1 + 1 / math.log2(3) + 1 / math.log2(4))
    assert ten["ndcg@10"] == pytest.approx(100 * (last + 1) / 2)


# real text -------------------------------------------------------------------------------------------------------------


def telecom(data: Path, folder: Path, count: int = 120) -> tuple[Path, list[dict[str, str]]]:
    with gzip.open(data / "teleqna-en-telecom" / "train.jsonl.gz", "rt", encoding="utf-8") as handle:
        lines = list(itertools.islice(handle, count))
    path = folder / "telecom.jsonl"
    path.write_text("".join(lines), encoding="utf-8")
    return path, [json.loads(line) for line in lines]


def ranks(encoder: Encoder, queries: list[str], passages: list[str]) -> list[int]:
    """Place of passage i for query i, one product at a time."""
    asked, given = encoder.encode(queries), encoder.encode(passages)
    found = []
    for i, query in enumerate(asked):
        cosines = [float(query @ one) / float(np.linalg.norm(query) * np.linalg.norm(one)) for one in given]
        found.append(1 + sum(cosine > cosines[i] + 1e-6 for cosine in cosines))
    return found


def test_held_out_passages_of_real_questions(data: Path, tiny: Path, tmp_path: Path) -> None:
    path, rows = telecom(data, tmp_path)
    encoder = Encoder.load(tiny, device="cpu")
    held = [row for row in rows if held_out(row["explanation"], 0.3)]
    assert 20 < len(held) < 60
    texts = [row["explanation"] for row in held]
    assert len(set(texts)) == len(texts)
    best = ranks(encoder, [row["question"] for row in held], texts)
    evaluator = Retrieval(data=resource(path), held_out=0.3, passages="held-out", samples=100)
    few = evaluator.evaluate(encoder, Context())
    assert {score.n for score in few} == {len(held)}
    assert values(few)["mrr@10"] == pytest.approx(100 * np.mean([1 / rank if rank <= 10 else 0 for rank in best]), abs=0.5)
    assert values(few)["accuracy@1"] == pytest.approx(100 * np.mean([rank == 1 for rank in best]), abs=0.1)
    among_all = values(Retrieval(data=resource(path), held_out=0.3, samples=100).evaluate(encoder, Context()))
    assert among_all["mrr@10"] < values(few)["mrr@10"], "more passages are harder"
    assert {score.n for score in Retrieval(data=resource(path), samples=100).evaluate(encoder, Context())} == {len(rows)}


# broken sets -----------------------------------------------------------------------------------------------------------


def refused(folder: Path, encoder: Encoder, *parts: str, **options: Any) -> None:
    with pytest.raises(DataError) as caught:
        Retrieval(data=resource(folder), **options).evaluate(encoder, Context())
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_a_part_is_missing(plane: Plane, tmp_path: Path) -> None:
    encoder, hint = plane(ANGLES), "A retrieval set is corpus.jsonl, queries.jsonl and qrels.tsv in one folder."
    for missing in (["qrels.tsv"], ["queries.jsonl"], ["corpus.jsonl", "qrels.tsv"]):
        folder = beir(tmp_path / "set", CORPUS, QUERIES, QRELS)
        for name in missing:
            (folder / name).unlink()
        refused(folder, encoder, str(folder), " and no ".join(name.split(".")[0] for name in missing), hint)


@pytest.mark.parametrize(
    ("qrels", "parts"),
    [
        ([*QRELS, ("first", "p21", 1)], ["qrels.tsv:8", "the passage 'p21' is judged but not there"]),
        ([("fourth", "p0", 1)], ["qrels.tsv:2", "the query 'fourth' is judged but not there"]),
        ([("first", "p0", "good")], ["qrels.tsv:2", "grade 'good' is not a number"]),
        ([("first", "p0", -1)], ["there is no query with a passage"]),
        ([("first", "p0", 1000)], ["qrels.tsv:2", "grade 1000 is outside -100 to 100"]),
        ([("first", "p0", 0)], ["there is no query with a passage"]),
        ([], ["there is no query with a passage"]),
        ([("first", "p0", 1)], ["1 queries and 6 passages are too few to score"]),
    ],
)
def test_judgements_that_fit_nothing(plane: Plane, tmp_path: Path, qrels: Any, parts: list[str]) -> None:
    refused(beir(tmp_path / "set", CORPUS, QUERIES, qrels), plane(ANGLES), *parts)


def test_texts_that_are_broken(plane: Plane, tmp_path: Path) -> None:
    encoder = plane(ANGLES)
    folder = beir(tmp_path / "set", CORPUS, QUERIES, QRELS)
    good = (folder / "corpus.jsonl").read_text(encoding="utf-8")
    for more, parts in (
        ('{"_id": "x"}\n', ["corpus.jsonl:7", "no column 'text' (there are: _id)"]),
        ('{"text": "a0"}\n', ["corpus.jsonl:7", "no column '_id'"]),
        ('{"_id": "x", "te\n', ["corpus.jsonl:7", "not JSON"]),
    ):
        (folder / "corpus.jsonl").write_text(good + more, encoding="utf-8")
        refused(folder, encoder, *parts)
    (folder / "corpus.jsonl").write_text(good, encoding="utf-8")
    whole = gzip.compress(b'{"_id": "x", "text": "a0"}\n' * 50)
    (folder / "queries.jsonl").unlink()
    (folder / "queries.jsonl.gz").write_bytes(whole[:-12])
    refused(folder, encoder, "queries.jsonl.gz", "broken or truncated")


def test_titles_belong_to_passages(plane: Plane, tmp_path: Path) -> None:
    """20° and 90° make 55°: third for a query at 50°, where two passages stand."""
    folder = beir(tmp_path / "set", CORPUS, {"q": "a50", "r": "a50"}, [("q", "t", 1), ("r", "t", 1)])
    with (folder / "corpus.jsonl").open("a", encoding="utf-8") as handle:
        handle.write(json.dumps({"_id": "t", "title": "a20", "text": "a90"}) + "\n")
    assert values(Retrieval(data=resource(folder)).evaluate(plane(ANGLES), Context()))["mrr@10"] == pytest.approx(100 / 3)
