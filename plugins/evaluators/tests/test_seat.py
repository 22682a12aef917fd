"""Effect sizes and p of associations: the formulas of the authors' code stated again, and published tests on a real encoder."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langadapt_evaluators.seat import Seat, association, effect_size, permutation_p

from langadapt.contracts.component import Context
from langadapt.errors import DataError
from langadapt.inference.encoder import Encoder
from langadapt.manifests.resource import PathSource, Resource, Sources
from langadapt.planning.pinning import pin_paths

pytestmark = pytest.mark.usefixtures("one_thread")


def resource(*paths: Path, **options: Any) -> Resource:
    found = Resource(name="test", format="classification", sources=Sources(path=PathSource(paths=[str(path) for path in paths])), **options)
    return found.model_copy(update={"pinned": pin_paths(found, tuple(path.absolute() for path in paths), "here")})


def unit(rng: np.random.Generator, count: int) -> np.ndarray:
    rows = rng.normal(size=(count, 8))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_effect_and_p_are_those_of_the_authors_code() -> None:
    """Loops over single cosines, as sentbias/weat.py has them."""
    rng = np.random.default_rng(4)
    x, y, a, b = unit(rng, 5), unit(rng, 5), unit(rng, 7), unit(rng, 6)

    def s(w: np.ndarray) -> float:
        return float(np.mean([w @ one for one in a]) - np.mean([w @ one for one in b]))

    of_x, of_y = [s(w) for w in x], [s(w) for w in y]
    expected = (np.mean(of_x) - np.mean(of_y)) / np.std([*of_x, *of_y], ddof=1)
    ours = association(x, a, b), association(y, a, b)
    assert effect_size(*ours) == pytest.approx(expected, abs=1e-9)
    total = [sum(part) for part in itertools.combinations([*of_x, *of_y], 5)]
    exact = np.mean([value >= sum(of_x) - 1e-12 for value in total])
    assert permutation_p(*ours, 10_000, rng) == pytest.approx(exact, abs=1e-12)
    assert permutation_p(*ours, 200, np.random.default_rng(0)) == pytest.approx(exact, abs=0.1)
    assert permutation_p(np.array([3.0, 2.0]), np.array([0.0, -1.0]), 100, rng) == pytest.approx(1 / 6)
    same = np.full(3, 0.5)
    assert effect_size(same, same) == 0.0
    assert permutation_p(same, same, 100, rng) == 1.0, "what is as large counts"


def test_a_planted_association_is_found(tiny: Path, tmp_path: Path) -> None:
    """Targets that are the attributes' own words: as large an effect as there can be, and p at its least."""
    first, second = ["शेतकरी", "डॉक्टर", "शिक्षक", "वकील"], ["गिटार", "पाऊस", "बाजार", "मैदान"]
    rows = [("target1", first), ("target2", second), ("attribute1", first), ("attribute2", second)]
    table = tmp_path / "test.tsv"
    table.write_text("text\tlabel\n" + "".join(f"{text}\t{role}\n" for role, texts in rows for text in texts), encoding="utf-8")
    encoder = Encoder.load(tiny, device="cpu")
    effect, p = Seat(data=resource(table), samples=200).evaluate(encoder, Context())
    assert effect.value > 1.5
    assert effect.low is not None
    assert effect.low > 1
    assert not effect.higher_is_better
    assert p.value == pytest.approx(1 / 70), "of 70 partitions one is as large"
    renamed = tmp_path / "renamed.tsv"
    renamed.write_text(table.read_text(encoding="utf-8").replace("target1", "people"), encoding="utf-8")
    (again, _) = Seat(data=resource(renamed, labels={"people": "target1"}), samples=200).evaluate(encoder, Context())
    assert again.value == effect.value
    with pytest.raises(DataError, match="'people' is no part of such a test"):
        Seat(data=resource(renamed)).evaluate(encoder, Context())
    short = tmp_path / "short.tsv"
    short.write_text("text\tlabel\n" + "".join(f"a\t{role}\n" for role, _ in rows), encoding="utf-8")
    with pytest.raises(DataError, match="target1 has 1 texts"):
        Seat(data=resource(short)).evaluate(encoder, Context())


def test_published_tests(data: Path, tiny: Path, tmp_path: Path) -> None:
    encoder = Encoder.load(tiny, device="cpu")
    files = [data / "sent-bias-en" / f"{name}.jsonl" for name in ("weat1", "sent-weat6")]
    found = Seat(data=resource(*files), samples=100, partitions=500).evaluate(encoder, Context())
    assert [(score.task, score.metric) for score in found] == [
        (f"test {name}", metric) for name in ("weat1", "sent-weat6") for metric in ("effect size", "p")
    ]
    assert found[0].n == 50
    broken = json.loads(files[0].read_text(encoding="utf-8"))
    broken["attr1"]["examples"] = "love"
    file = tmp_path / "broken.json"
    file.write_text(json.dumps(broken), encoding="utf-8")
    with pytest.raises(DataError, match="'attr1' has no list of texts"):
        Seat(data=resource(file)).evaluate(encoder, Context())
