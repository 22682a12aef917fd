"""Words: analogies, rare words, people's features of words; templates of bias; each formula stated again or a library asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from langadapt_evaluators.analogy import Analogy, answers
from langadapt_evaluators.log_probability_bias import LogProbabilityBias
from langadapt_evaluators.rare_words import RareWords
from langadapt_evaluators.semantic_features import SemanticFeatures, feature_correlation, least_squares, neighbours, recovered

from langadapt.artifacts import encoder as encoders
from langadapt.contracts.component import Context
from langadapt.errors import DataError, ModelError
from langadapt.inference.encoder import Encoder
from langadapt.manifests.resource import PathSource, Resource, Sources
from langadapt.planning.pinning import pin_paths

pytestmark = pytest.mark.usefixtures("one_thread")

Table = Callable[..., Resource]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    def make(*lines: str) -> Resource:
        path = tmp_path / "words.tsv"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        found = Resource(name="words", format="classification", sources=Sources(path=PathSource(paths=[str(path)])))
        return found.model_copy(update={"pinned": pin_paths(found, (path.absolute(),), "here")})

    return make


class Planted:
    """An encoder whose vectors of words are given."""

    def __init__(self, vectors: dict[str, np.ndarray]) -> None:
        self.vectors = vectors

    def encode(self, texts: Any, **options: Any) -> np.ndarray:
        found = np.stack([self.vectors[text] for text in texts])
        return found / np.linalg.norm(found, axis=1, keepdims=True)


# analogy ----------------------------------------------------------------------------------------------------------------


def test_answers_are_those_of_gensim() -> None:
    """3CosAdd against KeyedVectors; 3CosMul against its formula, one question at a time."""
    from gensim.models import KeyedVectors

    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, 12)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    words = [f"w{i}" for i in range(60)]
    theirs = KeyedVectors(12)
    theirs.add_vectors(words, vectors)
    questions = np.stack([rng.permutation(60)[:3] for _ in range(200)])
    for (a, b, c), answer in zip(questions, answers(vectors, questions), strict=True):
        assert theirs.most_similar(positive=[words[b], words[c]], negative=[words[a]], topn=1)[0][0] == words[answer]
    multiplied = answers(vectors, questions, "3CosMul")
    for (a, b, c), answer in zip(questions, multiplied, strict=True):
        cosines = [(vectors @ vectors[i] + 1) / 2 for i in (a, b, c)]
        scores = cosines[1] * cosines[2] / (cosines[0] + 0.001)
        scores[[a, b, c]] = -1
        assert scores.argmax() == answer
    assert (multiplied != answers(vectors, questions)).any()


def test_analogies_of_a_table(table: Table) -> None:
    """Two relations that hold in the plane, one that does not; words of a question are no answers."""
    vectors = {}
    for i in range(12):
        vectors[f"a{i}"] = np.array([np.cos(i / 2), 1.0, np.sin(i / 2)])
        vectors[f"b{i}"] = np.array([np.cos(i / 2), -1.0, np.sin(i / 2)])
        vectors[f"x{i}"] = np.array([np.sin(7.0 * i), -2.0, np.cos(5.0 * i)])
    good = [f"a{i}\tb{i}\ta{i + 1}\tb{i + 1}\tholds" for i in range(11)]
    bad = [f"x{i}\ta{i}\tx{i + 1}\tx{i + 2}\tfails" for i in range(10)]
    found = {score.task: score for score in Analogy(data=table("a\tb\tc\td\tgroup", *good, *bad)).evaluate(Planted(vectors), Context())}
    assert found["words holds"].value > 80
    assert found["words fails"].value < 20
    assert found["words"].value == pytest.approx((11 * found["words holds"].value + 10 * found["words fails"].value) / 21)
    assert found["words"].n == 21


@pytest.mark.parametrize(
    ("lines", "part"),
    [
        (["a\tb\tc", "x\ty\tz"], "no column 'd'"),
        (["a\tb\tc\td", "x\ty\tz\t "], "words.tsv:2: the cell of 'd' is empty"),
        (["a\tb\tc\td"], "there are no questions"),
    ],
)
def test_a_table_of_another_kind(lines: list[str], part: str, table: Table) -> None:
    with pytest.raises(DataError, match=part):
        Analogy(data=table(*lines)).evaluate(Planted({}), Context())


# rare words -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny encoder with a masked-LM head."""
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("model")
    encoders.save(encoders.load(tiny, mlm_head=True), place)
    return place


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return Encoder.load(folder, device="cpu", mlm_head=True)


@torch.no_grad()
def said(folder: Path, ids: list[int]) -> torch.Tensor:
    """(T, V) log-probabilities by the model alone."""
    loaded = encoders.load(folder, mlm_head=True)
    return loaded.model.eval()(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)  # type: ignore[no-any-return]


def test_all_probabilities_are_the_models(folder: Path, encoder: Encoder) -> None:
    """(m, V) for blanks of several texts; the chosen ones are among them."""
    ids = [list(encoder.tokenizer(text)["input_ids"]) for text in ("राम शाळेत गेला", "it rains", "एक माणूस गिटार वाजवत आहे.")]
    places = [[1, 2], [1], [3]]
    whole = encoder.masked_log_probabilities(ids, places, None)
    assert whole.shape[0] == 4
    goal = [5, 6, 7, 8]
    assert np.allclose(whole[np.arange(4), goal], encoder.masked_log_probabilities(ids, places, goal), atol=1e-5)
    theirs = torch.cat([said(folder, one)[at] for one, at in zip(ids, places, strict=True)])
    assert np.allclose(whole, theirs.numpy(), atol=1e-4)


def test_the_rank_of_the_best_answer(folder: Path, encoder: Encoder, table: Table) -> None:
    """The better of two patterns counts; an answer of several pieces is none; a question without any is left out."""
    tokenizer, patterns = encoder.tokenizer, ["{word} हा {answer} आहे", "{word} आणि {answer}"]
    singles = [word for word in ("पाणी", "घर", "देश", "the", "men", "एक") if len(tokenizer.tokenize(word)) == 1]
    assert len(singles) > 1
    long = "अआंतरराष्ट्रीयीकरणकर्ता"
    rows = [f"राम\t{singles[0]}|{long}|{singles[1]}\trare", f"शाळा\t{singles[1]}\tfrequent", f"गिटार\t{long}\trare"]
    evaluator = RareWords(data=table("word\tanswers\tgroup", *rows), patterns={"": patterns}, samples=100)
    found = {score.metric: score for score in evaluator.evaluate(encoder, Context())}
    best = []
    for word, answers_ in (("राम", singles[:2]), ("शाळा", singles[1:2])):
        reciprocal = []
        for pattern in patterns:
            ids = list(tokenizer(pattern.replace("{word}", word).replace("{answer}", tokenizer.mask_token))["input_ids"])
            place = ids.index(tokenizer.mask_token_id)
            scores = said(folder, ids)[place]
            scores[tokenizer.all_special_ids] = -torch.inf
            order = scores.argsort(descending=True).tolist()
            goals = [tokenizer(pattern.replace("{word}", word).replace("{answer}", one))["input_ids"][place] for one in answers_]
            reciprocal.append(1 / (1 + min(order.index(goal) for goal in goals)))
        best.append(max(reciprocal))
    assert found["mrr"].n == 2
    assert found["mrr"].value == pytest.approx(100 * np.mean(best), rel=1e-4)
    with pytest.raises(DataError, match="words.tsv:2: there are no patterns for the relation ''"):
        RareWords(data=evaluator.data, patterns={"is-a": patterns}).evaluate(encoder, Context())
    with pytest.raises(DataError, match="needs one {answer}"):
        RareWords(data=evaluator.data, patterns={"": ["{word}"]}).evaluate(encoder, Context())
    with pytest.raises(ModelError, match="masked-LM head"):
        evaluator.evaluate(Encoder.load(folder, device="cpu"), Context())


# features ---------------------------------------------------------------------------------------------------------------


def test_the_predictors_are_scikit_learns() -> None:
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.neighbors import KNeighborsRegressor

    rng = np.random.default_rng(1)
    train, test, features = rng.normal(size=(40, 8)) + 1, rng.normal(size=(9, 8)) + 1, rng.normal(size=(40, 5))
    train, test = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (train, test))
    model = KNeighborsRegressor(7, metric="cosine", weights=lambda distances: np.maximum(1 - distances, 1e-9))
    assert np.allclose(neighbours(train, features, test, 7), model.fit(train, features).predict(test))
    features[:, 2] = 4.0  # as it may be in a part of the words
    theirs = PLSRegression(3).fit(train, features[:, [0, 1, 3, 4]]).predict(test)
    ours = least_squares(train, features, test, 3)
    assert np.allclose(ours[:, [0, 1, 3, 4]], theirs)
    assert (ours[:, 2] == 4).all()


def test_the_measures_are_scipys() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(2)
    gold, guess = rng.integers(0, 3, (30, 6)).astype(float), rng.normal(size=(30, 6))
    gold[:, 4], guess[:, 5] = 1.0, 0.0
    correlations = [spearmanr(gold[:, i], guess[:, i])[0] for i in (0, 1, 2, 3)]
    assert feature_correlation(gold, guess) == pytest.approx(np.mean([*correlations, 0.0]))
    usual = np.array([[0.1, 0.2, 0.3, 0.4]] * 2)
    assert recovered(np.array([[1.0, 0, 2, 0], [0, 0, 0, 0]]), np.array([[0.9, 0.8, 0.7, 0.1], [1, 2, 3, 4]]), usual).tolist() == [0.5, 0.0]
    assert recovered(np.array([[1.0, 0, 0, 2]]), np.zeros((1, 4)), usual[:1]).tolist() == [0.5]


def test_features_that_are_in_the_vectors(table: Table) -> None:
    """Directions of the space are recovered, drawn ones are not; either method."""
    rng = np.random.default_rng(3)
    vectors = {f"w{i}": rng.normal(size=6) for i in range(120)}
    units = {word: one / np.linalg.norm(one) for word, one in vectors.items()}
    real = [f"{word}\tf{i}\t{max(0.0, float(one[i])):.4f}" for word, one in units.items() for i in range(4)]
    drawn = [f"{word}\tg{i}\t{rng.random():.4f}" for word in units for i in range(4)]
    header = "word\tfeature\tvalue"
    for method in ("knn", "pls"):
        evaluator = SemanticFeatures(data=table(header, *real), methods=[method], samples=100)  # type: ignore[list-item]
        scores = evaluator.evaluate(Planted(vectors), Context())
        assert scores[0].value > 60
        assert scores[0].low <= scores[0].value <= scores[0].high  # type: ignore[operator]
        noise = SemanticFeatures(data=table(header, *drawn), methods=[method], samples=100).evaluate(Planted(vectors), Context())  # type: ignore[list-item]
        assert abs(noise[0].value) < 20
    same = {word: np.ones(6) for word in vectors}
    blind = SemanticFeatures(data=table(header, *real), samples=100, folds=500).evaluate(Planted(same), Context())
    assert [score.value for score in blind if score.metric == "feature correlation"] == [0, 0]  # as many folds as words, and nothing known
    rare = [*(f"w{i}\tf\t1" for i in range(40)), "w40\tg\t1"]
    assert SemanticFeatures(data=table(header, *rare), samples=100).evaluate(Planted(vectors), Context())
    for lines, part in (
        ((header, "w0\tf\tmany"), "words.tsv:2: the value 'many' is no number"),
        ((header, "w0\tf\t1", "w0\tf\t2"), "words.tsv:3: 'w0' has 'f' twice"),
        ((header, *(f"w{i}\tf\t1" for i in range(50))), "0 features that vary"),
    ):
        with pytest.raises(DataError, match=part):
            SemanticFeatures(data=table(*lines)).evaluate(Planted(vectors), Context())


# templates --------------------------------------------------------------------------------------------------------------


def test_templates_by_the_models_own_probabilities(folder: Path, encoder: Encoder, table: Table) -> None:
    """log p(target | trait) / p(target), of two targets, one of several pieces, on the model itself."""
    tokenizer = encoder.tokenizer
    rows = [("{target} एक {attribute} आहे.", "राम", "गिटारवादक", "माणूस", "a"), ("हा {attribute} म्हणजे {target}", "घर", "पाणी", "देश", "b")]
    lines = ["\t".join(row) for row in rows]
    scores = LogProbabilityBias(data=table("template\ttarget1\ttarget2\tattribute\tlabel", *lines), form="templates", samples=100).evaluate(
        encoder, Context()
    )
    ratios = []
    for template, *targets, attribute, _ in rows:
        sides = []
        for target in targets:
            text = template.replace("{target}", target).replace("{attribute}", attribute)
            encoded = tokenizer(text, return_offsets_mapping=True)
            ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
            spans = [(text.index(part), text.index(part) + len(part)) for part in (target, attribute)]
            own, trait = ([i for i, (s, e) in enumerate(offsets) if s < e and s < end and e > start] for start, end in spans)
            values = []
            for hidden in (own, own + trait):
                given = [tokenizer.mask_token_id if i in hidden else token for i, token in enumerate(ids)]
                values.append(sum(float(said(folder, given)[i, ids[i]]) for i in own))
            sides.append(values[0] - values[1])
        ratios.append(sides[0] - sides[1])
    found = {score.metric: score for score in scores}
    assert found["log-probability ratio"].value == pytest.approx(np.mean(ratios), abs=1e-3)
    assert found["distance from 0"].value == pytest.approx(abs(np.mean(ratios)), abs=1e-3)
    with pytest.raises(DataError, match="words.tsv:2: the template needs one {target}"):
        LogProbabilityBias(data=table("template\ttarget1\ttarget2\tattribute", "no place\ta\tb\tc"), form="templates").evaluate(
            encoder, Context()
        )


def test_two_sets_of_traits(encoder: Encoder, table: Table) -> None:
    """The effect between them is WEAT's formula on the rows' ratios; turning the targets round turns the sign."""
    traits = [("माणूस", "x"), ("देश", "x"), ("घर", "x"), ("पाणी", "y"), ("शाळा", "y"), ("गाव", "y")]
    values = {}
    for name, pair in (("one", "राम\tसीता"), ("other", "सीता\tराम")):
        lines = [f"{{target}} आणि {{attribute}}\t{pair}\t{trait}\t{label}" for trait, label in traits]
        data = table("template\ttarget1\ttarget2\tattribute\tlabel", *lines)
        scores = LogProbabilityBias(data=data, form="templates", samples=100).evaluate(encoder, Context())
        values[name] = {score.metric: score.value for score in scores}
        assert scores[-1].task == "words x against y"
    assert values["one"]["effect size"] == pytest.approx(-values["other"]["effect size"], abs=1e-4)
    assert values["one"]["distance from 0"] == pytest.approx(values["other"]["distance from 0"], abs=1e-4)
