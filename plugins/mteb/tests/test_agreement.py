"""Where MTEB and an evaluator of ours score the same data, the figures agree."""

from __future__ import annotations

import gzip
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from langadapt.contracts.component import Context
from langadapt.errors import DataError, SourceError
from langadapt.inference.encoder import Encoder
from langadapt.manifests.resource import Format, PathSource, Resource, Sources
from langadapt.planning.pinning import pin_paths
from langadapt.registry.registry import Registry

pytest.importorskip("mteb.abstasks")  # "mteb" alone could be this folder
pytest.importorskip("langadapt_mteb")
mteb = pytest.importorskip("mteb")

from langadapt_mteb import MtebModel, local_task  # noqa: E402
from langadapt_mteb.evaluator import Mteb  # noqa: E402

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def encoder(tiny: Path) -> Encoder:
    return Encoder.load(tiny, device="cpu")


@pytest.fixture
def part(data: Path, tmp_path: Path) -> Any:
    """Rows from all over a real table, as a resource."""

    def make(place: str, form: Format, rows: int, name: str = "some-rows", **options: Any) -> Resource:
        path = tmp_path / f"{name}.tsv"
        with gzip.open(data / place, "rt", encoding="utf-8") as handle:
            header, *lines = handle
        path.write_text(header + "".join(lines[:: max(1, len(lines) // rows)][:rows]), encoding="utf-8")
        found = Resource(name=name, format=form, sources=Sources(path=PathSource(paths=[str(path)])), **options)
        return found.model_copy(update={"pinned": pin_paths(found, (path.absolute(),), "here")})

    return make


def ours(registry: Registry, name: str, encoder: Encoder, **options: Any) -> dict[str, float]:
    evaluator: Any = registry.build("evaluator", {"use": name, **options})
    return {score.metric: score.value for score in evaluator.evaluate(encoder, Context())}


def theirs(encoder: Encoder, **options: Any) -> Any:
    (score,) = Mteb(**options).evaluate(encoder, Context())
    return score


def test_sts(part: Any, encoder: Encoder, registry: Registry) -> None:
    data = part("stsb/mr/dev.tsv.gz", "sts", 80)
    found = theirs(encoder, data=data, language="mar-Deva")
    assert (found.metric, found.n, found.low) == ("cosine_spearman", 80, None)
    assert found.value == pytest.approx(ours(registry, "sts", encoder, data=data)["spearman"], abs=1e-4)


def test_paraphrase(part: Any, encoder: Encoder, registry: Registry) -> None:
    data = part("mahaparaphrase-mr/dev.tsv.gz", "paraphrase", 80)
    found = theirs(encoder, data=data)
    mine = ours(registry, "pair-classification", encoder, data=data, dev=data)
    task = local_task(data, Context())
    scores = mteb.evaluate(MtebModel(encoder), task, cache=None, show_progress_bar=False).task_results[0].scores["test"][0]
    assert 100 * scores["cosine_ap"] == pytest.approx(mine["average precision"], abs=1e-4)
    assert found.value >= 100 * scores["cosine_ap"] - 1e-9


def test_bitext(part: Any, encoder: Encoder, registry: Registry) -> None:
    data = part("loresmt-en-mr/dev.tsv.gz", "parallel", 60)
    task = local_task(data, Context())
    scores = mteb.evaluate(MtebModel(encoder), task, cache=None, show_progress_bar=False).task_results[0].scores["test"][0]
    assert 100 * scores["accuracy"] == pytest.approx(ours(registry, "bitext", encoder, data=data)["accuracy"], abs=1e-4)


def test_retrieval(data: Path, encoder: Encoder, registry: Registry, tmp_path: Path) -> None:
    """Marathi headlines and their articles."""
    path = tmp_path / "pairs.tsv"
    with gzip.open(data / "stsb" / "mr" / "dev.tsv.gz", "rt", encoding="utf-8") as handle:
        rows = [line.rstrip("\n").split("\t")[:2] for line in islice(handle, 1, 400)]
    seen: set[str] = set()
    lines = [f"{a}\t{b}" for a, b in rows if not {a, b} & seen and not seen.update((a, b))]  # type: ignore[func-returns-value]
    path.write_text("question\tanswer\n" + "\n".join(lines[:120]) + "\n", encoding="utf-8")
    found = Resource(name="pairs", format="retrieval", sources=Sources(path=PathSource(paths=[str(path)])))
    resource = found.model_copy(update={"pinned": pin_paths(found, (path.absolute(),), "here")})
    score = theirs(encoder, data=resource)
    assert (score.metric, score.n) == ("ndcg_at_10", 120)
    assert score.value == pytest.approx(ours(registry, "retrieval", encoder, data=resource)["ndcg@10"], abs=2e-3)


def test_classification_and_refusals(part: Any, encoder: Encoder) -> None:
    train = part("mahasent-mr/mr/train.tsv.gz", "classification", 120, "train")
    test = part("mahasent-mr/mr/dev.tsv.gz", "classification", 60, "test")
    score = theirs(encoder, data=train, test=test)
    assert (score.metric, score.n) == ("accuracy", 60)
    assert 20 < score.value < 100
    with pytest.raises(DataError, match="needs a test of its own"):
        theirs(encoder, data=train)
    with pytest.raises(DataError, match="no task for the format 'tags'"):
        local_task(train.model_copy(update={"format": "tags"}), Context())
    with pytest.raises(DataError, match="MTEB has no task 'NoSuchTask'"):
        theirs(encoder, tasks=["NoSuchTask"])
    with pytest.raises(ValueError, match="neither tasks nor data"):
        Mteb()


def test_without_a_network_a_task_is_left_for_later(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub's clients are told that there is no network."""
    import datasets
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(SourceError, match="the data of MTEB's STS12 cannot be had"):
        theirs(encoder, tasks=["STS12"])


def test_roles_read_their_own_side(encoder: Encoder) -> None:
    from mteb.types import PromptType

    asked: list[Any] = []

    class Sides:
        width, settings = encoder.width, encoder.settings

        def role(self, name: str) -> str:
            return name

        def encode(self, texts: list[str], *, adapter: str | None, normalize: bool) -> np.ndarray:
            asked.append((tuple(texts), adapter))
            return encoder.encode(texts, normalize=normalize)

    model = MtebModel(Sides(), "me/mine")  # type: ignore[arg-type]
    batches = [{"text": ["one", "two"]}, {"text": ["three"]}]
    for kind in (PromptType.query, PromptType.document, None):
        assert model.encode(batches, prompt_type=kind).shape == (3, encoder.width)
    assert asked == [(("one", "two", "three"), side) for side in ("query", "document", None)]
    assert isinstance(model, mteb.EncoderProtocol)
    one, other = (np.eye(3, dtype=np.float32)[[0, 1]], np.eye(3, dtype=np.float32)[[1, 1]])
    assert model.similarity(one, other).tolist() == [[0, 0], [1, 1]]
    assert model.similarity_pairwise(one, other).tolist() == [0, 1]
