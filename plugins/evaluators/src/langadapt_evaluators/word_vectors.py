"""Vectors of words in sentences: an encoder's states, its input layer, letters, fastText."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from langadapt.contracts import Context
from langadapt.contracts.reading import Sentence
from langadapt.errors import DataError, SourceError

if TYPE_CHECKING:
    from langadapt.contracts import Embeds

PARTS = ("states", "input", "characters", "fasttext")
"""What vectors can be joined of; see :class:`langadapt_evaluators.tagging.Tagging`."""

LETTERS, WIDTH = 512, 100
"""Width of letters' and of fastText's vectors."""

Words = list[list[str]]
Vectors = list[np.ndarray]
"""(w, d) a sentence: of its words up to the first that the encoder's maximum length cuts off."""


def vectors_of(name: str, encoder: Embeds, train: list[Sentence], test: list[Sentence], more: Sequence[str], ctx: Context) -> list[Vectors]:
    """Vectors of the training and of the test sentences.

    Args:
        name: parts joined by ``+`` (``states+characters``).
        more: texts that fastText learns from, beside the training sentences.
    """
    words = [[[word for word, _ in sentence] for sentence in part] for part in (train, test)]
    read = [pieces_of(encoder, part) for part in words]
    makers: dict[str, Callable[[], list[Vectors]]] = {
        "states": lambda: [states(encoder, part, ctx) for part in read],
        "input": lambda: [states(encoder.at_layer(0), part, ctx, whole=True) for part in read],
        "characters": lambda: [characters(part) for part in words],
        "fasttext": lambda: fasttext(words, more, ctx),
    }
    parts = [makers[part]() for part in name.split("+")]
    return [
        [np.concatenate([part[side][i][: len(places)] for part in parts], 1) for i, places in enumerate(read[side].places)]
        for side in (0, 1)
    ]  # fmt: skip


@dataclass(frozen=True)
class Pieces:
    """Sentences as an encoder reads them, and for each word the places of its pieces, up to the first word that was cut off."""

    ids: list[list[int]]
    places: list[list[list[int]]]


def pieces_of(encoder: Embeds, words: Words) -> Pieces:
    """Tokenise sentences of words, cut at the encoder's maximum length."""
    encoded = encoder.tokenizer(words, is_split_into_words=True, truncation=True, max_length=encoder.settings.max_length)
    found = []
    for i, sentence in enumerate(words):
        pieces: dict[int, list[int]] = {}
        for place, word in enumerate(encoded.word_ids(i)):
            if word is not None:
                pieces.setdefault(word, []).append(place)
        reached = next((word for word in range(len(sentence)) if word not in pieces), len(sentence))
        found.append([pieces[word] for word in range(reached)])
    return Pieces(encoded["input_ids"], found)


def states(encoder: Any, read: Pieces, ctx: Context, whole: bool = False) -> Vectors:
    """The state of each word's first piece, or the mean of all its pieces'."""
    found = zip(encoder.token_states(read.ids, progress=ctx.log), read.places, strict=True)
    if whole:
        return [np.array([one[at].mean(0) for at in places]).reshape(-1, one.shape[1]) for one, places in found]
    return [one[[at[0] for at in places]] for one, places in found]


def characters(words: Words) -> Vectors:
    """Counts of a word's runs of one to five letters, hashed into `LETTERS` places, of length one."""
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(analyzer="char_wb", ngram_range=(1, 5), n_features=LETTERS, lowercase=False)
    flat = hashing.transform([word for sentence in words for word in sentence]).toarray()
    return np.split(flat, np.cumsum([len(sentence) for sentence in words])[:-1])


def fasttext(sides: list[Words], more: Sequence[str], ctx: Context) -> list[Vectors]:
    """Skip-gram vectors with letters' runs (Bojanowski et al. 2017, arXiv:1607.04606), learnt here from the first side and `more`.

    Raises:
        SourceError: gensim is not installed.
        DataError: no word is met twice.
    """
    try:
        from gensim.models import FastText
    except ImportError as error:
        raise SourceError("fastText's vectors need gensim", hint="pip install gensim") from error
    corpus = [*sides[0], *(text.split() for text in more)]
    seed = ctx.seed_for("fasttext") % 2**31
    if not any(count > 1 for count in Counter(word for text in corpus for word in text).values()):
        raise DataError("no word is met twice, and fastText has nothing to learn from", hint="Give it a corpus.")
    model = FastText(corpus, vector_size=WIDTH, window=5, min_count=2, sg=1, epochs=10, min_n=3, max_n=6, workers=1, seed=seed)
    return [[np.array([model.wv[word] for word in sentence]).reshape(-1, WIDTH) for sentence in side] for side in sides]
