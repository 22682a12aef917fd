"""Stereotype pairs: the authors' loop stated again on the same model, ties, kinds of bias, real Hindi pairs."""

from __future__ import annotations

import difflib
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from langadapt_evaluators.log_probability_bias import LogProbabilityBias, pair_scores

from langadapt.artifacts import encoder as encoders
from langadapt.contracts.component import Context
from langadapt.errors import DataError
from langadapt.inference.encoder import Encoder
from langadapt.manifests.resource import PathSource, Resource, Sources
from langadapt.planning.pinning import pin_paths

pytestmark = pytest.mark.usefixtures("one_thread")

PAIRS = [
    ("राम शाळेत गेला आणि घरी आला.", "सीता शाळेत गेली आणि घरी आली."),
    ("एक माणूस गिटार वाजवत आहे.", "एक मुलगी गिटार वाजवत आहे."),
    ("तो डॉक्टर आहे.", "ती डॉक्टर आहे, पण नवीन."),
]


@pytest.fixture(scope="module")
def model(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny encoder with a masked-LM head."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    encoders.save(encoders.load(tiny, mlm_head=True), folder)
    return folder


def resource(path: Path, **options: Any) -> Resource:
    found = Resource(name="pairs", format="classification", sources=Sources(path=PathSource(paths=[str(path)])), **options)
    return found.model_copy(update={"pinned": pin_paths(found, (path.absolute(),), "here")})


@torch.no_grad()
def by_the_authors(folder: Path, pair: tuple[str, str]) -> tuple[float, float]:
    """metric.py's loop: one token that both sentences share hidden at a time, first and last left out."""
    loaded = encoders.load(folder, mlm_head=True)
    model, tokenizer = loaded.model.eval(), loaded.tokenizer
    ids = [tokenizer(text)["input_ids"] for text in pair]
    spans: tuple[list[int], list[int]] = ([], [])
    for kind, a, b, c, d in difflib.SequenceMatcher(None, *[[str(token) for token in one] for one in ids]).get_opcodes():
        if kind == "equal":
            spans[0].extend(range(a, b))
            spans[1].extend(range(c, d))
    sums = [0.0, 0.0]
    for i in range(1, len(spans[0]) - 1):
        for side in (0, 1):
            hidden = list(ids[side])
            hidden[spans[side][i]] = tokenizer.mask_token_id
            logits = model(input_ids=torch.tensor([hidden])).logits[0, spans[side][i]]
            sums[side] += logits.log_softmax(0)[ids[side][spans[side][i]]].item()
    return sums[0], sums[1]


@pytest.mark.parametrize("pair", PAIRS)
def test_sums_are_those_of_the_authors_loop(pair: tuple[str, str], model: Path, ctx: Context) -> None:
    encoder = Encoder.load(model, device="cpu", mlm_head=True)
    assert pair_scores(encoder, pair, ctx) == pytest.approx(by_the_authors(model, pair), abs=1e-3)


class Told:
    """An encoder whose log-probabilities are what a test says of a sentence's first token."""

    def __init__(self, tiny: Path) -> None:
        self._encoder = Encoder.load(tiny, device="cpu")
        self.tokenizer, self.settings = self._encoder.tokenizer, self._encoder.settings

    def masked_log_probabilities(self, ids: list[list[int]], positions: list[list[int]], goal: list[int]) -> np.ndarray:
        """Longer sentences are likelier; equal ones tie."""
        return np.array([len(ids[0]) / 1000.0 / len(ids)] * len(ids))


def test_ties_are_no_stereotypes_and_kinds_are_scored(tiny: Path, ctx: Context, tmp_path: Path) -> None:
    longer, shorter = "तो घरी लवकर आला", "तो घरी आला"
    rows = [f"{longer}\t{shorter}\tage"] * 6 + [f"{shorter}\t{longer}\tage"] * 4 + [f"{shorter}\t{shorter}\tcaste"] * 10
    file = tmp_path / "pairs.tsv"
    file.write_text("more\tless\tkind\n" + "\n".join(rows) + "\n", encoding="utf-8")
    data = resource(file, columns={"sentence1": "more", "sentence2": "less", "label": "kind"})
    found = LogProbabilityBias(data=data, samples=100).evaluate(Told(tiny), ctx)  # type: ignore[arg-type]
    values = {(score.task, score.metric): (score.value, score.n) for score in found}
    assert values == {
        ("pairs", "distance from 50"): (20.0, 20),
        ("pairs", "stereotypes"): (30.0, 20),
        ("pairs age", "distance from 50"): (10.0, 10),
        ("pairs age", "stereotypes"): (60.0, 10),
        ("pairs caste", "distance from 50"): (50.0, 10),
        ("pairs caste", "stereotypes"): (0.0, 10),
    }
    assert [score.higher_is_better for score in found if score.metric == "distance from 50"] == [False] * 3


def test_single_sentences_are_refused(tiny: Path, ctx: Context, tmp_path: Path) -> None:
    file = tmp_path / "texts.tsv"
    file.write_text("text\tlabel\nएक\ta\nदोन\tb\n", encoding="utf-8")
    with pytest.raises(DataError, match="two sentences each"):
        LogProbabilityBias(data=resource(file)).evaluate(Encoder.load(tiny, device="cpu", mlm_head=True), ctx)


def test_hindi_pairs_of_indibias(data: Path, model: Path, ctx: Context, tmp_path: Path) -> None:
    with gzip.open(data / "indibias-hi" / "dev.tsv.gz", "rt", encoding="utf-8") as file:
        lines = [next(file) for _ in range(11)]
    (tmp_path / "pairs.tsv").write_text("".join(lines), encoding="utf-8")
    columns = {"sentence1": "sent_more_hi", "sentence2": "sent_less_hi", "label": "bias_type"}
    found = LogProbabilityBias(data=resource(tmp_path / "pairs.tsv", columns=columns), samples=100).evaluate(
        Encoder.load(model, device="cpu", mlm_head=True), ctx
    )
    assert found[0].n == 10
    assert found[1].value in {10.0 * i for i in range(11)}
