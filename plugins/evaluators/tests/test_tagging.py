"""Taggers: heads, vectors joined, fine-tuning, a lexicon; on real entities and parts of speech, and where the answer is known."""

from __future__ import annotations

import gzip
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from langadapt_evaluators import tag_heads
from langadapt_evaluators.tag_tuning import _tokenized, _written
from langadapt_evaluators.tagging import Tagging
from langadapt_evaluators.word_vectors import characters, pieces_of, states, vectors_of

from langadapt.contracts.component import Context
from langadapt.errors import DataError
from langadapt.inference.encoder import Encoder
from langadapt.manifests.resource import Format, PathSource, Resource, Sources
from langadapt.planning.pinning import pin_paths

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore::UserWarning")]


@pytest.fixture(scope="module")
def encoder(tiny: Path) -> Encoder:
    return Encoder.load(tiny, device="cpu")


def resource(path: Path, form: Format = "tags") -> Resource:
    found = Resource(name=path.name.partition(".")[0], format=form, sources=Sources(path=PathSource(paths=[str(path)])))
    return found.model_copy(update={"pinned": pin_paths(found, (path.absolute(),), "here")})


@pytest.fixture(scope="module")
def pos(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Resource:
    """Real Marathi parts of speech, a few thousand lines."""
    (source,) = (data / "ud-pos-mr").glob("train*")
    path = tmp_path_factory.mktemp("tags") / "pos.conll"
    with gzip.open(source, "rt", encoding="utf-8") as handle:
        path.write_text("".join(islice(handle, 2500)), encoding="utf-8")
    return resource(path)


def words_of(tags: Resource, count: int) -> list[list[str]]:
    blocks = Path(str(tags.sources.path.paths[0])).read_text(encoding="utf-8").strip().split("\n\n")  # type: ignore[union-attr]
    return [[line.split("\t")[0] for line in block.splitlines() if line and not line.startswith("#")] for block in blocks[:count]]


def test_pieces_of_words(encoder: Encoder, pos: Resource) -> None:
    """The first piece's state, or the mean of all; words behind the maximum are left out on both."""
    words = words_of(pos, 5)
    ids = [encoder.tokenizer(one, is_split_into_words=True)["input_ids"] for one in words]
    whole = encoder.token_states(ids)
    read = pieces_of(encoder, words)
    assert read.ids == ids
    firsts, means = (states(encoder, read, Context(), whole=whole_words) for whole_words in (False, True))
    for sentence, at, first, mean, found in zip(words, read.places, firsts, means, whole, strict=True):
        assert len(at) == len(sentence) == len(first) == len(mean)
        assert np.allclose(first, np.stack([found[places[0]] for places in at]), atol=1e-5)
        assert np.allclose(mean, np.stack([found[places].mean(0) for places in at]), atol=1e-5)
    long = pieces_of(encoder, [["पाणी"] * 200])
    assert 0 < len(long.places[0]) < 64
    assert len(states(encoder, long, Context())[0]) == len(long.places[0])


def test_vectors_are_joined(encoder: Encoder, pos: Resource) -> None:
    sentences = [[(word, "X") for word in one] for one in words_of(pos, 12)]
    both, _ = vectors_of("states+characters", encoder, sentences, sentences[:2], [], Context())
    alone = [vectors_of(name, encoder, sentences, sentences[:2], [], Context())[0] for name in ("states", "characters")]
    assert np.allclose(both[3], np.concatenate([alone[0][3], alone[1][3]], 1))
    letters = characters([["पाणी", "पाणी", "घर"], ["पाण्यात"]])
    assert np.allclose(letters[0][0], letters[0][1])
    assert letters[1][0] @ letters[0][0] > letters[1][0] @ letters[0][2] + 0.1
    assert np.allclose(np.linalg.norm(letters[0], axis=1), 1)


def test_fasttext_learns_from_the_corpus_too(encoder: Encoder, pos: Resource, data: Path) -> None:
    """One seed gives the same vectors again; more text gives others; unknown words have vectors by their letters."""
    pytest.importorskip("gensim")
    sentences = [[(word, "X") for word in one] for one in words_of(pos, 40)]
    unseen = [[("अनोळखीशब्द", "X")]]
    with gzip.open(data / "raw" / "mr.txt.gz", "rt", encoding="utf-8") as handle:
        more = list(islice(handle, 20))
    runs = [vectors_of("fasttext", encoder, sentences, unseen, corpus, Context()) for corpus in ([], [], more)]
    assert np.array_equal(runs[0][0][0], runs[1][0][0])
    assert not np.allclose(runs[0][0][0], runs[2][0][0])
    assert np.isfinite(runs[0][1][0]).all()
    with pytest.raises(DataError, match="no word is met twice"):
        vectors_of("fasttext", encoder, [[("एकदाच", "X")]], unseen, [], Context())
    assert np.abs(runs[0][1][0]).sum() > 0


def test_a_field_knows_what_follows_what(encoder: Encoder) -> None:
    """Vectors that say nothing of every other word, whose tag its neighbour decides: a field finds it, a linear layer cannot."""
    rng = np.random.default_rng(0)

    def draw(count: int) -> tuple[list[np.ndarray], list[list[int]]]:
        x, y = [], []
        for _ in range(count):
            kinds = rng.integers(2, size=6)
            tags = np.stack([kinds, kinds + 2], 1).ravel()  # after 0 comes 2, after 1 comes 3
            vectors = rng.normal(size=(12, 4)) * 0.1
            vectors[::2, 0] += kinds * 2 - 1
            vectors[1::2, 1] += 1
            x.append(vectors)
            y.append(tags.tolist())
        return x, y

    (x, y), (unseen, gold) = draw(80), draw(20)
    flat = [tag for one in gold for tag in one]
    right = {}
    for name, said in (("field", tag_heads.crf(x, y, unseen, 4, 0)), ("linear", tag_heads.linear(x, y, unseen))):
        right[name] = np.mean([a == b for a, b in zip(flat, (tag for one in said for tag in one), strict=True)])
    assert right["field"] > 0.95
    assert right["linear"] < 0.85
    assert tag_heads.crf(x[:8], y[:8], [*unseen[:3], np.zeros((0, 4))], 4, 0) == [*tag_heads.crf(x[:8], y[:8], unseen[:3], 4, 0), []]


def test_words_find_their_pieces_again(encoder: Encoder, pos: Resource) -> None:
    """Places of first pieces in the text as it is read, with and without markers; what is cut off has none."""
    sentences = [[(word, "X") for word in one] for one in words_of(pos, 8)]
    lexicon = {sentences[0][0][0]: "noun"}
    for known in ({}, lexicon):
        rows, places = _tokenized(encoder, sentences, known, {"X": 0})
        for sentence, at, i in zip(sentences, places, range(len(rows)), strict=True):
            tokens = encoder.tokenizer.convert_ids_to_tokens(rows[i]["text"])
            assert len(at) == len(sentence) == len(rows[i]["goal"])
            for (word, _), place in zip(sentence, at, strict=True):
                piece = tokens[place].removeprefix("##").removeprefix("▁")
                assert word.startswith(piece) or piece == encoder.tokenizer.unk_token
    text, spans = _written(["राम", "गेला"], {"राम": "per"})
    assert text == "[per] राम [/per] गेला"
    assert [text[a:b] for a, b in spans] == ["राम", "गेला"]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fine-tune", "fine-tune-crf"])
def test_fine_tuning_learns(method: Any, encoder: Encoder, tmp_path: Path) -> None:
    """Tags that follow from the words; one seed gives the same scores again, and the encoder stays as it was."""
    rng = np.random.default_rng(1)
    kinds = {"राम": "B-PER", "सीता": "B-PER", "पुणे": "B-LOC", "मुंबई": "B-LOC", "गेला": "O", "आहे": "O", "पाणी": "O"}
    words = list(kinds)
    lines = []
    for i in range(90):
        lines += [f"{word}\t{kinds[word]}" for word in rng.choice(words, 6)] + [f"क{i}\tO", ""]
    (tmp_path / "made.conll").write_text("\n".join(lines) + "\n", encoding="utf-8")
    before = encoder.encode(["राम पुणे"])
    tagging = Tagging(data=resource(tmp_path / "made.conll"), methods=[method], seeds=1, epochs=6, learning_rate=1e-3, samples=100)
    scores = tagging.evaluate(encoder, Context())
    assert [score.task for score in scores] == [f"made {method}"] * 2
    assert scores[0].value > 90
    assert [score.value for score in tagging.evaluate(encoder, Context())] == [score.value for score in scores]
    assert np.array_equal(encoder.encode(["राम पुणे"]), before)


@pytest.mark.slow
def test_markers_of_a_lexicon_are_read(encoder: Encoder, tmp_path: Path) -> None:
    """Words that training never saw, which only the lexicon tells apart."""
    rng = np.random.default_rng(2)
    everything = [f"{letter}{a}{b}" for letter in "पबचज" for a in "कगतन" for b in "मरलस"]
    order = rng.permutation(sorted(everything)).tolist()
    parts = {"train": order[: len(order) // 2], "test": order[len(order) // 2 :]}
    swap = {word: ("B-X" if rng.random() < 0.5 else "O") for word in order}  # letters say nothing
    for name, some in parts.items():
        drawn = [rng.choice(some, 5) for _ in range(120 if name == "train" else 30)]
        lines = [line for words in drawn for line in [*(f"{word}\t{swap[word]}" for word in words), ""]]
        (tmp_path / f"{name}.conll").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "lexicon.tsv").write_text("word\ttype\n" + "".join(f"{w}\tx\n" for w, k in swap.items() if k == "B-X"), encoding="utf-8")
    options: dict[str, Any] = {"methods": ["fine-tune"], "seeds": 1, "epochs": 8, "learning_rate": 5e-4, "samples": 100}
    options |= {"data": resource(tmp_path / "train.conll"), "test": resource(tmp_path / "test.conll")}
    blind, told = (
        Tagging(**options, lexicon=lexicon).evaluate(encoder, Context())[0].value
        for lexicon in (None, resource(tmp_path / "lexicon.tsv", "classification"))
    )
    assert told > blind + 15


def test_fine_tuning_gives_every_word_a_tag(encoder: Encoder, pos: Resource) -> None:
    """One step on real parts of speech, with and without a field; the encoder stays as it was."""
    before = encoder.encode(["राम पुणे"])
    tagging = Tagging(data=pos, methods=["fine-tune", "fine-tune-crf"], limit=20, seeds=1, epochs=1, samples=100)
    scores = tagging.evaluate(encoder, Context())
    assert [score.task for score in scores] == ["pos fine-tune", "pos fine-tune-crf"]
    assert len({score.n for score in scores}) == 1
    assert np.array_equal(encoder.encode(["राम पुणे"]), before)


def test_columns_side_by_side(encoder: Encoder, pos: Resource) -> None:
    """Each method on each kind of vectors, as tasks of their own; seeds where something is drawn."""
    tagging = Tagging(data=pos, methods=["probe", "crf"], vectors=["states", "characters"], limit=40, seeds=2, samples=100)
    scores = {score.task: score for score in tagging.evaluate(encoder, Context())}
    assert list(scores) == [f"pos {method} {vectors}" for method in ("probe", "crf") for vectors in ("states", "characters")]
    assert all(score.metric == "accuracy" and score.low <= score.value <= score.high for score in scores.values())  # type: ignore[operator]
    assert min(score.value for score in scores.values()) > 35
    plain = Tagging(data=pos, limit=40, samples=100).evaluate(encoder, Context())
    assert plain[0].task == "pos"
    assert plain[0].value == scores["pos probe states"].value
    with pytest.raises(ValueError, match="no vectors 'bpemb'"):
        Tagging(data=pos, vectors=["states+bpemb"])


def test_one_tag_alone(encoder: Encoder, tmp_path: Path) -> None:
    (tmp_path / "one.conll").write_text("".join(f"क{i}\tO\n\n" for i in range(100)), encoding="utf-8")
    with pytest.raises(DataError, match="all words are tagged 'O'"):
        Tagging(data=resource(tmp_path / "one.conll")).evaluate(encoder, Context())
    assert torch.is_grad_enabled()
