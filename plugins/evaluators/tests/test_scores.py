"""Correlations against scipy, intervals, fertility by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from langadapt_evaluators.bootstrap import interval
from langadapt_evaluators.sts import pearson, spearman
from scipy import stats

from langadapt import Encoder
from langadapt.manifests.resource import PathSource, Resource, Sources
from langadapt.plan import pin_paths
from langadapt.registry.component import Context
from langadapt.registry.registry import Registry


def pinned(path: Path, sort: str) -> Resource:
    found = Resource(name="test", format=sort, sources=Sources(path=PathSource(paths=[str(path)])))  # type: ignore[arg-type]
    return found.model_copy(update={"pinned": pin_paths(found, (path,), "test")})


def test_correlations_equal_scipy() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, 200).astype(float), rng.standard_normal(200)
    y += 0.3 * x
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic)
    low, high = interval(lambda i: pearson(x[i], y[i]), 200, np.random.default_rng(1))
    assert low < pearson(x, y) < high
    wide = interval(lambda i: pearson(x[:40][i], y[:40][i]), 40, np.random.default_rng(1))
    assert wide[1] - wide[0] > high - low


def test_sts_on_real_pairs(tiny: Path, data: Path, registry: Registry, ctx: Context) -> None:
    judge = registry.build("evaluator", {"use": "sts", "data": pinned(data / "mahasts-mr" / "dev.tsv.gz", "sts"), "samples": 200})
    scores = judge.evaluate(Encoder.load(tiny, device="cpu"), ctx)  # type: ignore[attr-defined]
    by_metric = {score.metric: score for score in scores}
    assert by_metric["spearman"].n == 821
    assert 40 < by_metric["spearman"].low < by_metric["spearman"].value < by_metric["spearman"].high < 100
    again = judge.evaluate(Encoder.load(tiny, device="cpu"), ctx)  # type: ignore[attr-defined]
    assert again == scores


def test_fertility_by_hand(tiny: Path, registry: Registry, ctx: Context, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("मुले खेळतात\nगिटार\n", encoding="utf-8")
    encoder = Encoder.load(tiny, device="cpu")
    judge = registry.build("evaluator", {"use": "fertility", "data": pinned(path, "text")})
    scores = {score.metric: score for score in judge.evaluate(encoder, ctx)}  # type: ignore[attr-defined]
    counts = [len(encoder.tokenizer(word, add_special_tokens=False).input_ids) for word in ("मुले", "खेळतात", "गिटार")]
    assert scores["tokens per word"].value == pytest.approx(sum(counts) / 3)
    assert scores["continued words"].value == pytest.approx(100 * sum(c > 1 for c in counts) / 3)
    assert scores["unknown tokens"].value == 0
