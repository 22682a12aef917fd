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
from langadapt_vocab.focus import Focus, sparsemax_weights
from langadapt_vocab.projection import FastTextProjection
from langadapt_vocab.shared import shared_ids
from langadapt_vocab.simple import Mean
from langadapt_vocab.static import Space, read_space, token_space, unit

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
    found = Focus(dimensions=50).mixture(old, new, texts, Context())
    counts = {word: found.provenance.count(word) for word in set(found.provenance)}
    assert counts["copied"] > 300
    assert counts["weighted by a static space"] > 200
    assert set(counts) <= {"copied", "weighted by a static space", "mean of all"}
    sums = np.asarray(found.weights.sum(1)).ravel()
    mixed = [i for i, word in enumerate(found.provenance) if word == "weighted by a static space"]
    assert np.allclose(sums[mixed], 1, atol=1e-5)
    assert all(sums[i] == 1 for i, word in enumerate(found.provenance) if word == "copied")
    assert {i for i, word in enumerate(found.provenance) if word == "mean of all"} == set(found.rows)
    again = Focus(dimensions=50).mixture(old, new, texts, Context())
    assert (found.weights != again.weights).nnz == 0
    other = Focus(dimensions=50).mixture(old, new, texts, Context(seed=7))
    assert (found.weights != other.weights).nnz > 0


def test_the_space_is_the_same_in_another_process(vocabularies: tuple[Vocab, Vocab], texts: list[str], tmp_path: Path) -> None:
    from langadapt_vocab.static import Sentences, train_space

    here = train_space(Sentences(texts[:150]), 16, 2, 3, Context())
    (tmp_path / "texts").write_text("\n".join(texts[:150]), encoding="utf-8")
    script = (
        "from pathlib import Path; import numpy as np; from langadapt.contracts.component import Context\n"
        "from langadapt_vocab.static import Sentences, train_space\n"
        "space = train_space(Sentences(Path('texts').read_text(encoding='utf-8').split('\\n')), 16, 2, 3, Context())\n"
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
        assert np.array_equal(space.vectors, np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32))


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
    from langadapt_vocab.static import Sentences

    assert list(Sentences(["ฉันชอบกินข้าว"])) == [["ฉัน", "ชอบ", "กิน", "ข้าว"]]


def test_words_are_found_in_any_case() -> None:
    space = Space(["Haus", "haus", "Baum"], np.eye(3, dtype=np.float32))
    assert space.folded() == {"haus": 0, "baum": 2}


def test_a_focus_row_by_hand(vocabularies: tuple[Vocab, Vocab], texts: list[str], ctx: Context) -> None:
    """One token's weights: sparsemax of its cosines, on the old rows of the very tokens it is near to."""
    old, new = vocabularies
    mixture = Focus(epochs=1).mixture(old, new, texts, ctx)
    shared = shared_ids(old, new)
    vectors, known = token_space(new, texts, 100, 1, 5, ctx)
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
