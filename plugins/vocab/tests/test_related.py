"""Matching and wechsel on a real pair of related languages, Polish and Kashubian."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langadapt_vocab.dictionary import read_dictionary
from langadapt_vocab.matching import Matching, Spellings, fold
from langadapt_vocab.shared import canonical_tokens, shared_ids
from langadapt_vocab.static import FastText, Sentences, Space, train_space
from langadapt_vocab.wechsel import Wechsel, token_places

from langadapt.contracts.component import Context
from langadapt.contracts.vocabulary import Vocab
from langadapt.errors import DataError, ModelError
from langadapt.manifests.resource import Format, PathSource, Resource, Sources
from langadapt.modeling.surgery import vocab_of
from langadapt.planning.pinning import pin_paths


def resource(path: Path, form: Format, **columns: str) -> Resource:
    found = Resource(name=form, format=form, columns=columns, sources=Sources(path=PathSource(paths=[str(path)])))
    return found.model_copy(update={"pinned": pin_paths(found, (path,), "test")})


@pytest.fixture(scope="module")
def pairs(data: Path) -> list[tuple[str, str]]:
    with gzip.open(data / "pl-csb" / "train.tsv.gz", "rt", encoding="utf-8") as handle:
        return [(row["pl"], row["csb"]) for row in csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)][:20_000]


@pytest.fixture(scope="module")
def dictionary(data: Path) -> Resource:
    return resource(data / "pl-csb" / "train.tsv.gz", "dictionary", source="pl", target="csb")


@pytest.fixture(scope="module")
def vocabularies(pairs: list[tuple[str, str]], registry: Any) -> tuple[Vocab, Vocab]:
    """A Polish vocabulary with rows, and a Kashubian one."""
    made = []
    for side in (0, 1):
        tokenizer = registry.build("tokenizer", {"use": "wordpiece", "vocab_size": 4000}).train([p[side] for p in pairs], None, Context())
        made.append(vocab_of(tokenizer))
    rows = np.random.default_rng(5).standard_normal((len(made[0].tokens), 16)).astype(np.float32)
    return Vocab(made[0].tokens, made[0].tokenizer, made[0].special, rows), made[1]


def matched(found: Any, old: Vocab, new: Vocab, word: str) -> dict[str, str]:
    """New token → old tokens it takes, of the tokens with one provenance."""
    names = canonical_tokens(new)
    weights = found.weights.tocsr()
    return {
        names[i]: " ".join(old.tokens[j] for j in weights.indices[weights.indptr[i] : weights.indptr[i + 1]])
        for i, origin in enumerate(found.provenance)
        if origin == word
    }


def test_dictionary_holds_pairs_of_single_words(dictionary: Resource) -> None:
    found = read_dictionary(dictionary, Context())
    assert ("admiralicja", "admiralicjô") in found
    assert len(found) == len(set(found)) > 5000
    assert not any(" " in a + b for a, b in found)


def test_matching_by_dictionary_then_spelling(vocabularies: tuple[Vocab, Vocab], dictionary: Resource) -> None:
    old, new = vocabularies
    found = Matching(dictionary=dictionary).mixture(old, new, None, Context())
    counts = {word: found.provenance.count(word) for word in set(found.provenance)}
    assert min(counts["copied"], counts["matched by dictionary"], counts["matched by spelling"]) > 100, counts
    translations: dict[str, str] = {}
    for source, target in read_dictionary(dictionary, Context()):
        translations.setdefault(target, source)
    for token, taken in list(matched(found, old, new, "matched by dictionary").items())[:300]:
        assert old.tokenizer.tokenize(translations[token.removeprefix("▁").lower()]) == taken.split(" ") or " " in taken
    for token, taken in matched(found, old, new, "matched by spelling").items():
        a, b = fold(token), fold(canonical_tokens(old)[old.tokens.index(taken)])
        assert a == b or (abs(len(a) - len(b)) <= 1 and len(a) >= 5), (token, taken)
    without = Matching().mixture(old, new, None, Context())
    assert "matched by dictionary" not in without.provenance
    sums = np.asarray(found.weights.sum(1)).ravel()
    assert all(abs(sums[i] - 1) < 1e-5 for i in range(len(sums)) if i not in found.rows)


def test_a_false_friend_takes_what_it_means(vocabularies: tuple[Vocab, Vocab], tmp_path: Path) -> None:
    """The dictionary decides before equal spelling; with nothing but false friends in it, they alone are moved."""
    old, new = vocabularies
    shared = shared_ids(old, new)
    names = canonical_tokens(new)
    friends = [i for i in sorted(shared) if names[i][1:].isalpha() and names[i].startswith("▁") and len(names[i]) > 4][:3]
    others = [old.tokens[i] for i in range(len(old.tokens)) if old.tokens[i].isalpha() and len(old.tokens[i]) > 5][:3]
    words = tmp_path / "friends.tsv"
    lines = [f"{mean}\t{names[i][1:].lower()}" for i, mean in zip(friends, others, strict=True)]
    words.write_text("pl\tcsb\n" + "\n".join(lines) + "\n", encoding="utf-8")
    found = Matching(dictionary=resource(words, "dictionary")).mixture(old, new, None, Context())
    for index, mean in zip(friends, others, strict=True):
        assert found.provenance[index] == "matched by dictionary"
        taken = [old.tokens[j] for j in found.weights[[index]].indices]
        assert taken == old.tokenizer.tokenize(mean)
    told = {names[i].lower() for i in friends}
    copied = [i for i in shared if names[i].lower() not in told]
    assert {found.provenance[i] for i in copied} == {"copied"}
    before = Matching(dictionary=resource(words, "dictionary"), first="shared").mixture(old, new, None, Context())
    assert {before.provenance[i] for i in friends} == {"copied"}
    assert [before.weights[[i]].indices.tolist() for i in friends] == [[shared[i]] for i in friends]


def test_spelling_of_the_new_language_is_rewritten(vocabularies: tuple[Vocab, Vocab]) -> None:
    old, new = vocabularies
    word = next(t for t in old.tokens if t.isalpha() and t.isascii() and t.islower() and "a" in t and 4 <= len(t) < 5)
    moved = Vocab(["[UNK]", word.replace("a", "ŏ")], new.tokenizer, {"unk": 0})
    index = old.tokens.index(word)
    assert Matching(spelling={"ŏ": "a"}).mixture(old, moved, None, Context()).weights[[1]].indices.tolist() == [index]
    plain = Matching().mixture(old, moved, None, Context())
    assert plain.weights[[1]].indices.tolist() != [index]


def test_spelling_keeps_words_and_continuations_apart(vocabularies: tuple[Vocab, Vocab]) -> None:
    old, _ = vocabularies
    near = Spellings(old, 5)
    spelt = canonical_tokens(old)
    starts = next(i for i, t in enumerate(spelt) if t.startswith("▁") and len(t) > 7 and t[1:] not in spelt)
    word = spelt[starts]
    assert near.find(word.upper()) == near.find(word)
    changed = word[:4] + ("x" if word[4] != "x" else "y") + word[5:]
    assert spelt[near.find(changed) or 0][0] == "▁"
    assert near.find("▁\u0915\u093f") is None
    assert fold("Łódź") == "lodz"
    assert fold("\u0915\u093f\u0902") == "\u0915\u093f\u0902", "vowel signs are letters, not accents"


@pytest.mark.slow
def test_wechsel_joins_the_languages(
    vocabularies: tuple[Vocab, Vocab], dictionary: Resource, pairs: list[tuple[str, str]], tmp_path: Path
) -> None:
    """Spaces trained on the two sides; translations must be nearer than chance."""
    old, new = vocabularies
    polish = train_space(Sentences([p[0].lower() for p in pairs]), FastText(40, 20, 2, n_grams=(5, 5)), Context())
    file = tmp_path / "pl.vec.txt"
    with file.open("w", encoding="utf-8") as handle:
        for word, vector in zip(polish.words, polish.vectors, strict=True):
            handle.write(f"{word} {' '.join(f'{v:.5f}' for v in vector)}\n")
    init = Wechsel(dictionary=dictionary, old_vectors=resource(file, "vectors"), dimensions=40, epochs=20, min_count=2)
    found = init.mixture(old, new, [p[1].lower() for p in pairs], Context())
    weighted = [i for i, word in enumerate(found.provenance) if word == "weighted by a static space"]
    assert len(weighted) > 0.6 * len(new.tokens)
    counts = np.diff(found.weights.tocsr().indptr)
    assert set(counts[weighted]) == {10}
    sums = np.asarray(found.weights.sum(1)).ravel()
    assert np.allclose(sums[weighted], 1, atol=1e-5)
    # Among a token's ten neighbours of some thousand, the token spelt alike should stand far more often than by chance.
    names_old, names_new = canonical_tokens(old), canonical_tokens(new)
    alike = [i for i in weighted if len(names_new[i]) > 5 and names_new[i] in names_old]
    hits = [names_old.index(names_new[i]) in found.weights.tocsr()[[i]].indices for i in alike]
    assert len(alike) > 50
    assert np.mean(hits) > 20 * 10 / len(old.tokens)


def test_a_dictionary_that_joins_nothing_is_refused(vocabularies: tuple[Vocab, Vocab], tmp_path: Path) -> None:
    old, new = vocabularies
    words = tmp_path / "one.tsv"
    words.write_text("pl\tcsb\ndom\tdóm\n", encoding="utf-8")
    space = tmp_path / "pl.txt"
    space.write_text("dom 1 0\nkot 0 1\n", encoding="utf-8")
    init = Wechsel(dictionary=resource(words, "dictionary"), old_vectors=resource(space, "vectors"), min_count=1, dimensions=8)
    with pytest.raises(DataError, match="1 of 1 dictionary pairs"):
        init.mixture(old, new, ["dóm i kòt"], Context())
    with pytest.raises(ModelError, match="text to train them on"):
        init.mixture(old, new, None, Context())
    words.write_text("a\tb\tc\nx\ty\tz\n", encoding="utf-8")
    with pytest.raises(DataError, match="no columns 'source' and 'target'"):
        read_dictionary(resource(words, "dictionary"), Context())
    words.write_text("pl\tcsb\ndobry dzień\tdobri dzéń\n", encoding="utf-8")
    with pytest.raises(DataError, match="no pair of single words"):
        read_dictionary(resource(words, "dictionary"), Context())


def test_a_tokens_place_is_the_mean_of_its_words(vocabularies: tuple[Vocab, Vocab]) -> None:
    """By frequency, each word read alone and behind a space; by rank where the file tells no frequency."""
    old, _ = vocabularies
    words = ["dom", "domu", "kot", "domdom"]
    vectors = np.eye(4, dtype=np.float32)
    for counts, weights in ((None, [1, 1 / 2, 1 / 3, 1 / 4]), (np.array([7, 5, 2, 1]), [7, 5, 2, 1])):
        rows, known = token_places(old, Space(words, vectors, counts))
        assert known.any()
        for index in np.flatnonzero(known):
            expected = np.zeros(4)
            for place, word in enumerate(words):
                for text in (word, " " + word):
                    expected[place] += weights[place] * (old.tokens[index] in old.tokenizer.tokenize(text))
            assert np.allclose(rows[index], expected / expected.sum(), atol=1e-6)


def test_wechsel_is_the_authors(
    vocabularies: tuple[Vocab, Vocab], dictionary: Resource, pairs: list[tuple[str, str]], tmp_path: Path
) -> None:
    """Their steps, stated again with scipy and scikit-learn (CPJKU/wechsel, 395e3d4), on spaces that know n-grams."""
    from gensim.models import FastText as Model
    from gensim.models.fasttext import save_facebook_model
    from scipy.linalg import orthogonal_procrustes
    from sklearn.metrics.pairwise import cosine_similarity

    old, new = vocabularies
    assert old.rows is not None
    models = []
    for side in (0, 1):
        sentences = [pair[side].split() for pair in pairs[:6000]]
        model = Model(sentences, vector_size=24, min_count=2, bucket=4000, min_n=5, max_n=5, epochs=2, workers=1, seed=1)
        save_facebook_model(model, str(tmp_path / f"{side}.bin"))
        models.append(model.wv)
    files = [resource(tmp_path / f"{side}.bin", "vectors") for side in (0, 1)]
    found = Wechsel(dictionary=dictionary, old_vectors=files[0], new_vectors=files[1]).mixture(old, new, None, Context())

    left, right = models
    joined = []
    for source, target in read_dictionary(dictionary, Context(), lower=False):
        for a in (source, source.lower(), source.title()):
            for b in (target, target.lower(), target.title()):
                if a in left.key_to_index and b in right.key_to_index:
                    joined.append((left[a], right[b]))
    align, _ = orthogonal_procrustes(*(np.array(side) for side in zip(*joined, strict=True)))
    places = []
    for vocab, space in ((old, left), (new, right)):
        texts = [vocab.tokenizer.decode([i]).strip() for i in range(len(vocab.tokens))]
        places.append(np.stack([space[text] if text else np.zeros(24) for text in texts]))
    similar = cosine_similarity(places[1], places[0] @ align)
    similar[:, list(old.special.values())] = -np.inf  # theirs may mix from special tokens too
    checked = 0
    for index in range(0, len(new.tokens), 37):
        if found.provenance[index] != "weighted by a static space":
            assert index in new.special.values() or not places[1][index].any()
            continue
        best = np.argsort(-similar[index])[:11]
        if similar[index][best[9]] - similar[index][best[10]] < 1e-4:
            continue  # which of the two is the tenth is a matter of rounding
        best = best[:10]
        weights = np.exp(similar[index][best] / 0.1)
        expected = (weights / weights.sum()) @ old.rows[best]
        row = found.weights[[index]]
        assert np.allclose(row.data @ old.rows[row.indices], expected, atol=1e-4)
        checked += 1
    assert checked > 80
    text = tmp_path / "pl.txt"
    text.write_text("dom 1 0\nkot 0 1\n", encoding="utf-8")
    init = Wechsel(dictionary=dictionary, old_vectors=resource(text, "vectors"), new_vectors=files[1], tokens="n-grams")
    with pytest.raises(ModelError, match="which vectors in text do not tell"):
        init.mixture(old, new, None, Context())


def test_a_dictionary_without_a_word_of_the_new_vocabulary_is_refused(vocabularies: tuple[Vocab, Vocab], tmp_path: Path) -> None:
    old, new = vocabularies
    words = tmp_path / "one.tsv"
    word = next(token for token in reversed(new.tokens) if token.isalpha() and token.islower() and token not in old.tokens)
    for rows, known in ((f"dom\t{word}\n", 1), ("dom\txyzzyxyzzy\n", 0)):
        words.write_text("pl\tcsb\n" + rows, encoding="utf-8")
        with pytest.raises(DataError, match=f"{known} of the dictionary's 1 words are tokens of the new vocabulary"):
            Matching(dictionary=resource(words, "dictionary")).mixture(old, new, None, Context())


def test_two_pairs_align_no_space(vocabularies: tuple[Vocab, Vocab], tmp_path: Path) -> None:
    old, new = vocabularies
    words, space = tmp_path / "two.tsv", tmp_path / "pl.txt"
    words.write_text("pl\tcsb\ndom\tdóm\nkot\tkòt\n", encoding="utf-8")
    space.write_text("dom 1 0 0 0 0 0 0 0\nkot 0 1 0 0 0 0 0 0\n", encoding="utf-8")
    init = Wechsel(dictionary=resource(words, "dictionary"), old_vectors=resource(space, "vectors"), min_count=1, dimensions=8)
    with pytest.raises(DataError, match="2 of 2 dictionary pairs"):
        init.mixture(old, new, ["dóm i kòt"], Context())
