"""Initialisations by a static space: exact sparsemax, real text, the same rows every time."""

from __future__ import annotations

import gzip
import itertools
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langadapt_vocab.focus import Focus, _fuzzy, sparsemax_weights
from langadapt_vocab.projection import FastTextProjection
from langadapt_vocab.shared import shared_ids
from langadapt_vocab.simple import Mean
from langadapt_vocab.static import FastText, Sentences, read_space, spelt_tokens, token_space, train_space, unit

from langadapt.contracts.component import Context
from langadapt.contracts.vocabulary import Vocab
from langadapt.errors import DataError, ModelError
from langadapt.manifests.resource import PathSource, Resource, Sources
from langadapt.modeling.loading import load_model, load_tokenizer
from langadapt.modeling.surgery import apply_mixture, vocab_of
from langadapt.planning.pinning import pin_paths


def marathi(data: Path, count: int) -> list[str]:
    with gzip.open(data / "raw" / "mr.txt.gz", "rt", encoding="utf-8") as handle:
        return [line.rstrip("\n")[:600] for line in itertools.islice(handle, 500, 500 + count)]


@pytest.fixture(scope="module")
def texts(data: Path) -> list[str]:
    return marathi(data, 500)


@pytest.fixture(scope="module")
def vocabularies(tiny: Path, texts: list[str], registry: Any) -> tuple[Vocab, Vocab]:
    """A real multilingual base and a Marathi WordPiece vocabulary."""
    old = vocab_of(load_tokenizer(tiny), load_model(tiny))
    new = registry.build("tokenizer", {"use": "wordpiece", "vocab_size": 2000}).train(texts, None, Context())
    return old, vocab_of(new)


def reference(row: np.ndarray) -> np.ndarray:
    """Sparsemax of one row as the paper states it, in float64."""
    ordered = np.sort(row.astype(np.float64))[::-1]
    sums = np.cumsum(ordered)
    k = int(np.flatnonzero(1 + np.arange(1, len(row) + 1) * ordered > sums)[-1]) + 1
    return np.maximum(row - (sums[k - 1] - 1) / k, 0)


@pytest.mark.parametrize(("anchors", "spread"), [(1, 1.0), (7, 1.0), (900, 1.0), (900, 0.01)])
def test_sparsemax_is_the_papers(anchors: int, spread: float) -> None:
    """With a small spread nearly every anchor is in the support, far beyond the first guess of its size."""
    rng = np.random.default_rng(3)
    queries = unit(rng.standard_normal((60, 40)).astype(np.float32))
    table = unit((queries[:1] + spread * rng.standard_normal((anchors, 40))).astype(np.float32))
    found = sparsemax_weights(queries, table)
    wanted = np.stack([reference(row) for row in queries @ table.T])
    assert np.abs(found.toarray() - wanted).max() < 1e-5
    assert np.allclose(found.sum(1), 1, atol=1e-5)
    if anchors == 900 and spread < 0.1:
        assert np.diff(found.indptr).max() > 128


def test_focus_mixes_new_rows_from_shared_ones(vocabularies: tuple[Vocab, Vocab], texts: list[str]) -> None:
    old, new = vocabularies
    found = Focus(dimensions=50, min_count=5).mixture(old, new, texts, Context())
    counts = {word: found.provenance.count(word) for word in set(found.provenance)}
    assert counts["copied"] > 300
    assert counts["weighted by a static space"] > 200
    assert set(counts) <= {"copied", "weighted by a static space", "random"}
    sums = np.asarray(found.weights.sum(1)).ravel()
    mixed = [i for i, word in enumerate(found.provenance) if word == "weighted by a static space"]
    assert np.allclose(sums[mixed], 1, atol=1e-5)
    assert all(sums[i] == 1 for i, word in enumerate(found.provenance) if word == "copied")
    assert {i for i, word in enumerate(found.provenance) if word == "random"} == set(found.rows)
    again = Focus(dimensions=50, min_count=5).mixture(old, new, texts, Context())
    assert (found.weights != again.weights).nnz == 0
    other = Focus(dimensions=50, min_count=5).mixture(old, new, texts, Context(seed=7))
    assert (found.weights != other.weights).nnz > 0


def test_the_space_is_the_same_in_another_process(vocabularies: tuple[Vocab, Vocab], texts: list[str], tmp_path: Path) -> None:
    here = train_space(Sentences(texts[:150]), FastText(16, 2, 3), Context())
    (tmp_path / "texts").write_text("\n".join(texts[:150]), encoding="utf-8")
    script = (
        "from pathlib import Path; import numpy as np; from langadapt.contracts.component import Context\n"
        "from langadapt_vocab.static import FastText, Sentences, train_space\n"
        "space = train_space(Sentences(Path('texts').read_text(encoding='utf-8').split('\\n')), FastText(16, 2, 3), Context())\n"
        "np.save('vectors.npy', space.vectors); Path('words').write_text('\\n'.join(space.words), encoding='utf-8')\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env={**os.environ, "PYTHONHASHSEED": "11"}, check=True, timeout=120)
    assert (tmp_path / "words").read_text(encoding="utf-8").split("\n") == here.words
    assert np.array_equal(np.load(tmp_path / "vectors.npy"), here.vectors)


def test_projection_takes_shared_tokens_near_their_rows(vocabularies: tuple[Vocab, Vocab], texts: list[str]) -> None:
    old, new = vocabularies
    found = FastTextProjection(dimensions=50).mixture(old, new, texts, Context())
    projected = [i for i, word in enumerate(found.provenance) if word == "projected"]
    assert len(projected) > 200
    assert old.rows is not None
    rows = np.stack([found.rows[i] for i in projected])
    assert rows.shape[1] == old.rows.shape[1]
    # Rows of the kind the old model has: near the centre of the cloud, and not all the same.
    assert np.linalg.norm(rows.mean(0) - old.rows.mean(0)) < np.linalg.norm(old.rows - old.rows.mean(0), axis=1).mean()
    assert rows.std(0).mean() > 0.02 * old.rows.std(0).mean()


def test_mean_draws_with_the_old_covariance(vocabularies: tuple[Vocab, Vocab]) -> None:
    old, new = vocabularies
    assert old.rows is not None
    few = Vocab(old.tokens, old.tokenizer, old.special, old.rows[:, :12])
    found = Mean().mixture(few, new, None, Context())
    drawn = np.stack(list(found.rows.values()))
    assert len(drawn) > 500
    wanted = np.cov(few.rows, rowvar=False)
    assert np.abs(np.cov(drawn, rowvar=False) - wanted).max() < 0.25 * np.abs(wanted).max()
    assert np.abs(drawn.mean(0) - few.rows.mean(0)).max() < 0.2 * np.sqrt(np.diag(wanted)).max()


@pytest.mark.parametrize("name", ["focus", "fasttext-projection", "mean"])
def test_surgery_takes_what_they_propose(name: str, vocabularies: tuple[Vocab, Vocab], texts: list[str], tiny: Path, registry: Any) -> None:
    """Every token gets a row, copied ones their old row bit for bit."""
    old, new = vocabularies
    model = load_model(tiny)
    before = model.get_input_embeddings().weight.detach().clone()
    mixture = registry.build("vocab-init", name).mixture(old, new, texts, Context())
    apply_mixture(model, mixture, old.tokenizer, new.tokenizer)
    rows = model.get_input_embeddings().weight.detach()
    assert rows.shape[0] == len(new.tokens)
    assert np.isfinite(rows.numpy()).all()
    from langadapt_vocab.shared import shared_ids

    for index, source in list(shared_ids(old, new).items())[:200]:
        if index != new.special["pad"]:
            assert np.array_equal(rows[index], before[source])


def test_what_cannot_be_done_is_said(vocabularies: tuple[Vocab, Vocab], texts: list[str]) -> None:
    old, new = vocabularies
    for init in (Focus(), FastTextProjection()):
        with pytest.raises(ModelError, match="needs text"):
            init.mixture(old, new, None, Context())
        with pytest.raises(DataError, match="too small for a static space"):
            init.mixture(old, new, ["एक दोन"], Context())
    stranger = Vocab(["\u4e00" + token for token in old.tokens], old.tokenizer, {}, old.rows)
    with pytest.raises(DataError, match="share no token"):
        Focus(dimensions=8, epochs=1).mixture(stranger, Vocab(new.tokens, new.tokenizer, {}), texts, Context())


def vectors(path: Path) -> Resource:
    resource = Resource(name="vectors", format="vectors", sources=Sources(path=PathSource(paths=[str(path)])))
    return resource.model_copy(update={"pinned": pin_paths(resource, (path,), "test")})


def test_vectors_are_read_with_and_without_a_header(tmp_path: Path) -> None:
    rows = "घर 1 0 0\nदार 0 2 0\n"
    for text in (rows, "2 3\n" + rows):
        file = tmp_path / "some.txt"
        file.write_text(text, encoding="utf-8")
        space = read_space(vectors(file), Context())
        assert space.words == ["घर", "दार"]
        assert np.array_equal(space.vectors, np.array([[1, 0, 0], [0, 2, 0]], dtype=np.float32))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no vectors"),
        ("घर 1 0\nदार 1\n", "1 numbers where others have 2"),
        ("घर eins zwei\n", "not a word and its"),
        ("घर 1 nan\n", "not a word"),
        ("घर 1.2.3 4\n", "not a word"),
        ("2 3\nघर 1 0\nदार 0 1\n", "2 numbers where the first line says 3"),
    ],
)
def test_broken_vectors_name_their_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "some.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as found:
        read_space(vectors(file), Context())
    assert str(file) in str(found.value.where)


def test_fewer_vectors_than_stated_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "some.txt"
    file.write_text("5000 2\nघर 1 0\nदार 0 1\n", encoding="utf-8")
    with caplog.at_level("WARNING"):
        assert len(read_space(vectors(file), Context(log=logging.getLogger("static"))).words) == 2
    assert "2 vectors where its first line says 5,000" in caplog.text


def test_words_of_a_script_without_white_space() -> None:
    assert list(Sentences(["ฉันชอบกินข้าว"])) == [["ฉัน", "ชอบ", "กิน", "ข้าว"]]


def test_a_focus_row_by_hand(vocabularies: tuple[Vocab, Vocab], texts: list[str], ctx: Context) -> None:
    """One token's weights: sparsemax of its cosines, on the old rows of the very tokens it is near to."""
    old, new = vocabularies
    mixture = Focus(epochs=1).mixture(old, new, texts, ctx)
    shared = shared_ids(old, new)
    vectors, known = token_space(new, texts, FastText(100, 1, 5, skip_gram=True, negative=5), ctx)
    special = set(new.special.values())
    anchors = [i for i in sorted(shared) if known[i] and i not in special]
    placed = [i for i, word in enumerate(mixture.provenance) if word == "weighted by a static space"]
    assert len(placed) > 20
    for token in placed[:: len(placed) // 10]:
        cosines = vectors[anchors] @ vectors[token]
        wanted = {shared[anchor]: weight for anchor, weight in zip(anchors, reference(cosines), strict=True) if weight > 1e-7}
        row = mixture.weights[[token]]
        found = dict(zip(row.indices.tolist(), row.data.tolist(), strict=True))
        assert found.keys() == wanted.keys(), new.tokens[token]
        assert all(abs(found[index] - weight) < 1e-4 for index, weight in wanted.items())


def test_tokens_without_a_place_are_drawn_with_all_of_the_spread(vocabularies: tuple[Vocab, Vocab], texts: list[str], ctx: Context) -> None:
    """As the authors' package: N(mean, deviation) of the old rows, per dimension."""
    old, new = vocabularies
    assert old.rows is not None
    found = Focus(epochs=1, dimensions=16, min_count=40, spread=1).mixture(old, new, texts, ctx)
    rows = np.stack([row for i, row in found.rows.items() if found.provenance[i] == "random"])
    assert len(rows) > 300
    scaled = (rows - old.rows.mean(0)) / old.rows.std(0)
    assert abs(scaled.mean()) < 0.02
    assert scaled.std() == pytest.approx(1, abs=0.02)
    little = Focus(epochs=1, dimensions=16, min_count=40, spread=0.01).mixture(old, new, texts, ctx)
    assert np.allclose(
        [little.rows[i] for i in found.rows], old.rows.mean(0) + 0.01 * (np.stack(list(found.rows.values())) - old.rows.mean(0))
    )


def test_fuzzy_matches_are_the_authors(tiny: Path) -> None:
    """What the package takes for shared with ``fuzzy_match_all``: exact first, then alike but for case and beginnings of words."""
    tokenizer = load_tokenizer(tiny)
    special = {"unk": 0}
    old = Vocab(["<unk>", "▁Hello", "hello", "▁hello", "▁World", "wOrld", "▁\u0915"], tokenizer, special, np.eye(7, 4, dtype=np.float32))
    new = Vocab(["<unk>", "▁HELLO", "▁hello", "world", "▁\u0915", "\u0915", "new"], tokenizer, special)
    assert _fuzzy(old, new) | shared_ids(old, new) == {0: 0, 1: 2, 2: 3, 3: 4, 4: 6, 5: 6}
    assert shared_ids(old, new) == {0: 0, 2: 3, 4: 6}


def test_tokens_are_placed_in_word_vectors_as_they_are_written(vocabularies: tuple[Vocab, Vocab], texts: list[str], tmp_path: Path) -> None:
    """In the format of fastText n-grams place them, in text only words: ``fasttext-wordlevel`` of the authors' package."""
    from gensim.models import FastText as Model
    from gensim.models.fasttext import save_facebook_model

    old, new = vocabularies
    model = Model(list(Sentences(texts)), vector_size=12, min_count=3, bucket=2000, min_n=3, max_n=4, epochs=1, workers=1, seed=1)
    save_facebook_model(model, str(tmp_path / "words.bin"))
    space = read_space(vectors(tmp_path / "words.bin"), Context())
    assert space.words == model.wv.index_to_key
    assert space.counts is not None
    assert space.counts.tolist() == [model.wv.get_vecattr(word, "count") for word in space.words]
    found, known = spelt_tokens(new, space)
    for index in range(10, len(new.tokens), 97):
        text = new.tokenizer.decode([index]).strip()
        assert np.allclose(found[index], model.wv[text], atol=1e-6), text
    assert not known[list(new.special.values())].any()
    assert known.mean() > 0.9
    mixture = Focus(vectors=vectors(tmp_path / "words.bin")).mixture(old, new, None, Context())
    assert mixture.provenance.count("weighted by a static space") > 500
    model.wv.save_word2vec_format(str(tmp_path / "words.vec.txt"))
    plain, there = spelt_tokens(new, read_space(vectors(tmp_path / "words.vec.txt"), Context()))
    words = set(model.wv.index_to_key)
    assert [bool(one) for one in there] == [
        new.tokenizer.decode([i]).strip() in words and i not in new.special.values() for i in range(len(new.tokens))
    ]
    assert np.allclose(plain[there], found[there], atol=1e-5)
    (tmp_path / "broken.bin").write_bytes((tmp_path / "words.bin").read_bytes()[:500])
    with pytest.raises(DataError, match="cannot be read as a fastText model"):
        read_space(vectors(tmp_path / "broken.bin"), Context())
