"""Correlations against scipy, intervals, and whole evaluations against sums by hand."""

from __future__ import annotations

import csv
import gzip
import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from langadapt_evaluators.bootstrap import interval
from langadapt_evaluators.fertility import Fertility
from langadapt_evaluators.groups import held_out_rows
from langadapt_evaluators.layer_sweep import LayerSweep
from langadapt_evaluators.sts import Sts, _labels, pearson, spearman

from langadapt.contracts.component import Context
from langadapt.errors import DataError
from langadapt.inference.encoder import Encoder
from langadapt.manifests.resource import PathSource, Resource, Sources
from langadapt.planning.pinning import pin_paths

pytestmark = pytest.mark.usefixtures("one_thread")


def resource(*paths: Path, name: str = "test", form: Any = "sts", **options: Any) -> Resource:
    found = Resource(name=name, format=form, sources=Sources(path=PathSource(paths=[str(p) for p in paths])), **options)
    return found.model_copy(update={"pinned": pin_paths(found, tuple(path.absolute() for path in paths), "here")})


@pytest.fixture(scope="module")
def encoder(tiny: Path) -> Encoder:
    return Encoder.load(tiny, device="cpu")


@given(st.lists(st.tuples(st.integers(-9, 9), st.floats(-5, 5, width=16)), min_size=3, max_size=40))
@settings(max_examples=150, deadline=None)
def test_correlations_equal_scipy(points: list[tuple[int, float]]) -> None:
    x, y = np.array(points, dtype=float).T
    if np.ptp(x) < 1e-3 or np.ptp(y) < 1e-3:
        return
    assert spearman(x, y) == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-9)
    assert pearson(x, y) == pytest.approx(scipy.stats.pearsonr(x, y).statistic, abs=1e-9)


def test_a_constant_side_has_no_correlation() -> None:
    assert np.isnan(pearson(np.ones(4), np.arange(4.0)))
    assert np.isnan(spearman(np.ones(4), np.arange(4.0)))


def test_interval_holds_the_value_and_shrinks_with_n() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(3200)
    y = x + rng.standard_normal(3200)
    widths = []
    for n in (50, 400, 3200):
        low, high, _ = interval(lambda rows, n=n: pearson(x[:n][rows], y[:n][rows]), n, np.random.default_rng(1), 300)
        assert low < pearson(x[:n], y[:n]) < high
        widths.append(high - low)
    # An interval narrows with the square root of n: by 2.8 at each step.
    assert widths[0] / widths[1] == pytest.approx(8**0.5, rel=0.45)
    assert widths[1] / widths[2] == pytest.approx(8**0.5, rel=0.3)


def test_interval_of_a_mean_equals_the_normal_one() -> None:
    values = np.random.default_rng(0).standard_normal(1000)
    low, high, _ = interval(lambda rows: float(values[rows].mean()), 1000, np.random.default_rng(1), 2000)
    error = values.std() / 1000**0.5
    assert [low, high] == pytest.approx([values.mean() - 1.96 * error, values.mean() + 1.96 * error], abs=0.15 * error)


def first_rows(data: Path, folder: Path, count: int) -> tuple[Path, list[dict[str, str]]]:
    with gzip.open(data / "stsb" / "mr" / "dev.tsv.gz", "rt", encoding="utf-8", newline="") as handle:
        rows = list(itertools.islice(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE), count))
    path = folder / "dev.tsv"
    path.write_text("sentence1\tsentence2\tscore\n" + "".join("\t".join(row.values()) + "\n" for row in rows), encoding="utf-8")
    return path, rows


def test_sts_on_real_marathi_by_hand(data: Path, tiny: Path, encoder: Encoder, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    path, rows = first_rows(data, tmp_path, 200)
    found = Sts(data=resource(path), samples=200).evaluate(encoder, Context())
    model = SentenceTransformer(str(tiny), device="cpu")
    model.max_seq_length = encoder.settings.max_length
    a, b = (model.encode([row[name] for row in rows], show_progress_bar=False) for name in ("sentence1", "sentence2"))
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    gold = [float(row["score"]) for row in rows]
    assert [score.metric for score in found] == ["spearman", "pearson"]
    assert found[0].value == pytest.approx(100 * scipy.stats.spearmanr(cosines, gold).statistic, abs=0.05)
    assert found[1].value == pytest.approx(100 * scipy.stats.pearsonr(cosines, gold).statistic, abs=0.01)
    for score in found:
        assert (score.task, score.n, score.unit) == ("test", 200, "×100")
        assert score.low is not None
        assert score.high is not None
        assert 0 < score.low < score.value < score.high < 100
    assert Sts(data=resource(path), samples=200).evaluate(encoder, Context()) == found
    assert Sts(data=resource(path), samples=200).evaluate(encoder, Context(seed=1))[0].low != found[0].low


def test_sts_of_several_files_and_own_columns(encoder: Encoder, tmp_path: Path) -> None:
    rows = [("घर मोठे आहे", "घर लहान आहे", 50), ("आज पाऊस पडला", "काल ऊन होते", 20), ("तो धावतो", "तो पळतो", 90)]
    paths = []
    for language in ("mr", "hi"):
        folder = tmp_path / "sets" / language
        folder.mkdir(parents=True)
        paths.append(folder / "test.csv")
        paths[-1].write_text("a,b,s\n" + "".join(f"{x},{y},{z}\n" for x, y, z in rows), encoding="utf-8")
    names = {"sentence1": "a", "sentence2": "b", "score": "s"}
    found = Sts(data=resource(*paths, columns=names, score_range=(0, 100)), task="STS", samples=100).evaluate(encoder, Context())
    assert len({score.task for score in found}) == 2
    assert all(score.task.startswith("STS") for score in found)
    assert found[0].value == found[2].value
    with pytest.raises(DataError, match="outside"):
        Sts(data=resource(paths[0], columns=names)).evaluate(encoder, Context())
    with pytest.raises(DataError, match="sentence1"):
        Sts(data=resource(paths[0])).evaluate(encoder, Context())


def test_fertility_by_hand(encoder: Encoder, tmp_path: Path) -> None:
    texts = ["घर मोठे आहे", "पावसाळ्यातील ढगफुटी", "漢字"]
    path = tmp_path / "texts.txt"
    path.write_text("\n".join([*texts, ""]), encoding="utf-8")
    tokenizer = encoder.tokenizer
    tokenizer(["एक", "दोन तीन चार"], padding=True, truncation=True, max_length=3)  # leaves the tokenizer padding
    found = Fertility(data=resource(path, form="text")).evaluate(encoder, Context())
    cut = [tokenizer(word, add_special_tokens=False)["input_ids"] for text in texts for word in text.split()]
    unknown = sum(ids.count(tokenizer.unk_token_id) for ids in cut)
    assert unknown >= 1
    values = {score.metric: score for score in found}
    total = sum(map(len, cut))
    assert values["tokens per word"].value == pytest.approx(total / 6)
    assert values["tokens per word"].unit == "tokens"
    assert values["continued words"].value == pytest.approx(100 * sum(len(ids) > 1 for ids in cut) / 6)
    assert values["unknown tokens"].value == pytest.approx(100 * unknown / total)
    for score in found:
        assert score.n == 6
        assert score.low <= score.value <= score.high  # type: ignore[operator]


def test_fertility_reads_pair_files_and_refuses_nothing(encoder: Encoder, tmp_path: Path) -> None:
    path, empty = tmp_path / "nli.tsv", tmp_path / "empty.txt"
    path.write_text("premise\thypothesis\tlabel\nघर मोठे आहे\tघर आहे\tentailment\n", encoding="utf-8")
    empty.write_text("\n \n", encoding="utf-8")
    assert Fertility(data=resource(path, form="nli")).evaluate(encoder, Context())[0].n == 5
    with pytest.raises(DataError, match="no text"):
        Fertility(data=resource(empty, form="text")).evaluate(encoder, Context())


def test_files_are_told_apart_by_as_little_as_it_takes() -> None:
    assert _labels([Path("a/stsb/mr/dev.tsv.gz"), Path("a/mahasts-mr/dev.tsv.gz")]) == ["mr/dev", "mahasts-mr/dev"]
    assert _labels([Path("a/gl-dev.tsv"), Path("b/es/dev.tsv.gz")]) == ["gl-dev", "dev"]
    assert _labels([Path("x.tsv")]) == ["x"]


def test_entity_f1_by_hand(encoder: Encoder, tmp_path: Path) -> None:
    """Two of three entities are found, and two that are none: precision 1/2, recall 2/3, F1 4/7; accuracy counts words."""
    from langadapt_evaluators.tagging import Tagging

    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-PER"]]
    said = [["B-PER", "I-PER", "B-LOC", "B-LOC"], ["B-LOC", "B-PER"]]
    tags, file = ["B-LOC", "B-PER", "I-PER", "O"], tmp_path / "tags.conll"
    file.write_text("a\tB-PER\nb\tO\n\n" * 20)

    def scored(*runs: list[list[str]]) -> Any:
        numbers = [[[tags.index(tag) for tag in one] for one in run] for run in runs]
        test = [[("word", tag) for tag in one] for one in gold]
        return Tagging(data=resource(file, form="tags"))._scores("t", test, tags, numbers, Context())

    half = [["O", "O", "B-LOC", "B-LOC"], said[1]]
    f1, accuracy = scored(half)
    assert f1.metric == "entity f1"
    assert f1.value == pytest.approx(100 * 2 * 2 / (3 + 4))  # found LOC and the second PER; said four
    assert f1.n == 3
    assert accuracy.value == pytest.approx(100 * 2 / 6)
    assert scored(said)[0].value == pytest.approx(100 * 2 * 3 / (3 + 5))
    assert scored(half, said)[0].value == pytest.approx(100 * (4 / 7 + 6 / 8) / 2)  # the mean of two seeds
    assert scored([one[:-1] for one in said])[1].value == pytest.approx(100 * 2 / 6)  # what is cut off counts as outside


def test_a_word_is_known_by_its_first_piece(encoder: Encoder) -> None:
    from langadapt_evaluators.word_vectors import pieces_of
    from langadapt_evaluators.word_vectors import states as of_words

    sentence = ["रंगमंचावर", "गिटार"]
    encoded = encoder.tokenizer(sentence, is_split_into_words=True)
    places = [encoded.word_ids().index(word) for word in (0, 1)]
    assert encoded.word_ids().count(0) > 1
    states = encoder.token_states([encoded["input_ids"]])[0]
    (vectors,) = of_words(encoder, pieces_of(encoder, [sentence]), Context())
    assert np.allclose(vectors, states[places], atol=1e-6)


def test_no_text_of_a_test_pair_is_learnt_from(data: Path) -> None:
    with gzip.open(data / "rqe-en-clinical" / "train.tsv.gz", "rt", encoding="utf-8") as handle:
        pairs = [(row["premise"], row["hypothesis"]) for row in csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)]
    out = held_out_rows(pairs, 0.2)
    learnt = {text for texts, test in zip(pairs, out, strict=True) if not test for text in texts}
    tested = {text for texts, test in zip(pairs, out, strict=True) if test for text in texts}
    assert not learnt & tested
    assert 0.1 < sum(out) / len(out) <= 0.2
    order = np.random.default_rng(0).permutation(len(pairs))
    again = held_out_rows([pairs[i] for i in order], 0.2)
    assert [again[list(order).index(i)] for i in range(50)] == out[:50]  # the order of the rows decides nothing


def test_groups_of_pairs_by_hand() -> None:
    pairs = [("a", "b"), ("b", "c"), ("d", "e"), ("f", "g"), ("x", "a"), ("h", "h")]
    out = held_out_rows(pairs, 0.5)
    assert out[0] == out[1] == out[4]
    assert sum(out) <= 3
    assert held_out_rows([("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")], 0.5) == [False] * 4  # one group: nothing can be held out


def test_both_texts_of_a_pair_are_features(encoder: Encoder) -> None:
    from langadapt_evaluators.text_vectors import features

    pairs = [("एक", "दोन"), ("एक", "पाऊस पडतो"), ("घर", "दोन")]
    found, _ = features("encoder", encoder, [list(pairs), list(pairs[:1])], [], Context())
    for row, (left, right) in zip(found, pairs, strict=True):
        u, v = encoder.encode([left, right], normalize=True)
        assert np.allclose(row, np.concatenate([u, v, abs(u - v), u * v]), atol=1e-5)


def test_layers_and_pairs_of_layers_in_one_pass(tiny: Path, data: Path, tmp_path: Path, registry: Any) -> None:
    """The figures of each layer read alone, and of ``layer-mean`` with two; each distinct text passes the encoder once."""
    with gzip.open(data / "stsb" / "mr" / "dev.tsv.gz", "rt", encoding="utf-8") as handle:
        lines = [line for _, line in zip(range(121), handle, strict=False)]
    table = tmp_path / "sts.tsv"
    table.write_text("".join(lines), encoding="utf-8")
    resource = Resource(name="sts", format="sts", sources=Sources(path=PathSource(paths=[str(table)])))
    resource = resource.model_copy(update={"pinned": pin_paths(resource, (table,), "test")})
    encoder = Encoder.load(tiny, device="cpu")
    seen: list[str] = []

    class Watched:
        def every_layer(self) -> Any:
            whole = encoder.every_layer()

            def encode(texts: list[str], **options: Any) -> np.ndarray:
                seen.extend(texts)
                return whole.encode(texts, **options)

            return SimpleNamespace(encode=encode)

        def __getattr__(self, name: str) -> Any:
            return getattr(encoder, name)

    plain = Sts(data=resource, samples=100)
    found = {score.task: score.value for score in LayerSweep(evaluator=plain, pairs=True).evaluate(Watched(), Context())}  # type: ignore[arg-type]
    assert list(found) == [f"sts layer {name}" for name in ("0", "1", "2", "0+1", "0+2", "1+2")]
    for layers in ([0], [1], [2], [0, 2]):
        pooled = Encoder.load(tiny, device="cpu", pooler={"use": "layer-mean", "layers": layers})
        name = "+".join(map(str, layers))
        assert found[f"sts layer {name}"] == pytest.approx(plain.evaluate(pooled, Context())[0].value, abs=1e-3), name
    assert len(seen) == len(set(seen)) > 150
