"""Late interaction: MaxSim against its definition, training that learns, search, and a release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from langadapt_objectives.colbert import Colbert, maxsim

from langadapt import Encoder
from langadapt.artifacts import encoder as encoders
from langadapt.contracts import Context, Evaluator, Models, MultiVectors, Objective, Optimizer, Pooler, Schedule
from langadapt.errors import ModelError
from langadapt.registry.registry import Registry
from langadapt.training.loop import Settings, train
from langadapt.training.tokenized import TokenizedRows

pytestmark = pytest.mark.usefixtures("one_thread")

QUESTIONS = [
    ("कोण गिटार वाजवतो?", "एक माणूस गिटार वाजवत आहे"), ("शाळा कधी बंद असते?", "आज पाऊस पडला आणि शाळा बंद आहे"),
    ("मुले कुठे खेळतात?", "मुले मैदानात खेळत आहेत"), ("ती काय करते?", "ती रोज गाणे गाते"), ("नदी कुठे वाहते?", "नदी गावाजवळ वाहते"),
    ("शेतकरी काय करतो?", "शेतकरी शेतात काम करतो"), ("गहू महाग आहे का?", "गव्हाची किंमत वाढली आहे"), ("बाजार कधी भरतो?", "बाजार रविवारी भरतो"),
]  # fmt: skip


def ragged(lengths: list[int], seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, 5)).astype(np.float32) for n in lengths]


def by_definition(queries: list[np.ndarray], documents: list[np.ndarray]) -> np.ndarray:
    return np.array([[sum(max(float(q @ d) for d in document) for q in query) for document in documents] for query in queries])


def test_maxsim_is_its_definition() -> None:
    queries, documents = ragged([3, 1, 4], 0), ragged([2, 6, 1, 3], 1)

    def multi(parts: list[np.ndarray]) -> MultiVectors:
        return MultiVectors(np.concatenate(parts), np.cumsum([len(part) for part in parts]))

    expected = by_definition(queries, documents)
    assert multi(queries).maxsim(multi(documents)) == pytest.approx(expected, abs=1e-5)
    assert multi(queries).part(1, 3).maxsim(multi(documents)) == pytest.approx(expected[1:], abs=1e-5)
    padded = [torch.nn.utils.rnn.pad_sequence([torch.from_numpy(part) for part in parts], True) for parts in (queries, documents)]
    assert maxsim(*padded).numpy() == pytest.approx(expected, abs=1e-5)
    gap = MultiVectors(np.concatenate(documents[:2]), np.array([2, 2, 8]))
    assert multi(queries).maxsim(gap)[:, 1].tolist() == [0, 0, 0]


def trained(tiny: Path, registry: Registry, work: Path) -> Any:
    torch.manual_seed(0)
    loaded = encoders.load(tiny, mlm_head=False)
    loaded.choose_pooler({"use": "colbert", "dimensions": 32})
    module = loaded.module(registry.make(Pooler, loaded.settings.pooler))
    objective = registry.make(Objective, "colbert")
    data = TokenizedRows.of(
        objective.prepare(Dataset.from_list([{"anchor": a, "positive": b} for a, b in QUESTIONS])), loaded.tokenizer, 64, objective.roles()
    )
    settings = Settings(40, 8, 3e-4, 0.01, 4, 1.0, "fp32", 4096, 10**9, "last")
    schedule, optimizer = registry.make(Schedule, "linear"), registry.make(Optimizer, "adamw")
    history = train(module, None, objective, data, loaded.tokenizer, schedule, optimizer, settings, None, Context(workdir=work))
    return loaded, module, history


def test_training_search_and_release(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    loaded, module, history = trained(tiny, registry, tmp_path)
    assert history.losses[-1][1] < 0.5 * history.losses[0][1]
    encoder = Encoder(loaded, module.eval())
    scores = encoder.similarity([question for question, _ in QUESTIONS], [answer for _, answer in QUESTIONS])
    assert (scores.argmax(1) == np.arange(8)).all()
    with pytest.raises(ModelError, match="gives a vector a token, and one a text is asked for"):
        encoder.encode(["घर"])
    encoders.save(loaded, tmp_path / "release")
    again = Encoder.load(tmp_path / "release", device="cpu", registry=registry)
    texts = [answer for _, answer in QUESTIONS]
    for together, alone in zip(again.encode_multi(texts), (encoder.encode_multi([text])[0] for text in texts), strict=True):
        assert np.abs(together - alone).max() < 1e-5
        assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(len(together)), abs=1e-5)
    table = tmp_path / "q.tsv"
    table.write_text("question\tanswer\n" + "".join(f"{a}\t{b}\n" for a, b in QUESTIONS), encoding="utf-8")
    sources = {"path": {"paths": [str(table)]}}
    resource = {"name": "q", "format": "retrieval", "sources": sources}
    from langadapt.manifests.resource import Resource
    from langadapt.planning.pinning import pin_paths

    data = Resource.model_validate(resource)
    data = data.model_copy(update={"pinned": pin_paths(data, (table,), "here")})
    found = registry.make(Evaluator, {"use": "retrieval", "data": data, "samples": 100}).evaluate(again, Context(workdir=tmp_path))
    assert found[0].value == pytest.approx(100.0)


def test_a_candidate_that_is_the_positive_is_no_negative(tiny: Path, registry: Registry) -> None:
    torch.manual_seed(0)
    loaded = encoders.load(tiny, mlm_head=False)
    loaded.choose_pooler({"use": "colbert", "dimensions": 16})
    module = loaded.module(registry.make(Pooler, loaded.settings.pooler)).eval()
    rows = [
        {"anchor": [0, 9, 2], "positive": [0, 50, 2]},
        {"anchor": [0, 8, 2], "positive": [0, 50, 2]},
        {"anchor": [0, 7, 2], "positive": [0, 60, 2]},
    ]
    batch = Colbert().collate(rows, loaded.tokenizer, np.random.default_rng(0))
    found = float(Colbert().loss(Models(module), batch, 0).total.detach())
    with torch.no_grad():
        logits = maxsim(module.embed(batch.sequences[:3]), module.embed(batch.sequences[3:]))
    left = torch.tensor([[0, 2], [1, 2], [0, 2]])
    expected = -logits[0, left[0]].log_softmax(0)[0] - logits[1, left[1]].log_softmax(0)[0] - logits[2].log_softmax(0)[2]
    assert found == pytest.approx(float(expected), abs=1e-4)
