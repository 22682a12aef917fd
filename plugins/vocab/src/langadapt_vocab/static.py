"""Static spaces: one vector a token or word, trained on the corpus at hand or read from a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from langadapt.contracts import Context, Resource, Vocab
from langadapt.contracts.reading import fetch, tables
from langadapt.contracts.text import splitter
from langadapt.errors import DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_WORDS = 400_000
"""Words read from a file of vectors: these files are sorted by frequency, and the tail is noise."""


@dataclass(frozen=True)
class Space:
    """Words and their vectors, (n, k) float32 as they were trained, most frequent first."""

    words: list[str]
    vectors: np.ndarray
    counts: np.ndarray | None = None
    """(n,) occurrences; None where a file tells the order alone."""
    model: Any = None
    """What knows the vectors of n-grams, where they are known: a gensim ``FastTextKeyedVectors``."""

    def frequencies(self) -> np.ndarray:
        """(n,) occurrences, or where they are not known one over the rank, as Zipf has it."""
        return self.counts if self.counts is not None else 1.0 / np.arange(1, 1 + len(self.words))

    def spelt(self, texts: list[str]) -> np.ndarray:
        """(m, k) vectors of texts: a known word's own, of others the mean of their n-grams, zeros where there are none."""
        found = [self.model.get_vector(text) if text else np.zeros(self.vectors.shape[1]) for text in texts]
        return np.asarray(found, dtype=np.float32).reshape(len(texts), self.vectors.shape[1])


@dataclass(frozen=True)
class FastText:
    """How a space is trained (Bojanowski et al. 2017, arXiv:1607.04606)."""

    dimensions: int
    epochs: int
    min_count: int
    skip_gram: bool = False
    negative: int = 10
    learning_rate: float = 0.05
    sample: float = 1e-4
    """Threshold above which frequent words are left out now and then."""
    exponent: float = 0.5
    """Of the counts that negatives are drawn by.  All three are fastText's, and not gensim's."""
    n_grams: tuple[int, int] = (3, 6)
    """Shortest and longest, in letters, the marks of a word's beginning and end counted."""


def train_space(sentences: Sentences, how: FastText, ctx: Context) -> Space:
    """fastText in one thread: equal text, equal space.

    Raises:
        DataError: no word is frequent enough.
    """
    from gensim.models import FastText as Model

    model = Model(
        vector_size=how.dimensions,
        sg=int(how.skip_gram),
        negative=how.negative,
        alpha=how.learning_rate,
        sample=how.sample,
        ns_exponent=how.exponent,
        min_n=how.n_grams[0],
        max_n=how.n_grams[1],
        window=5,
        min_count=how.min_count,
        workers=1,
        seed=ctx.seed_for("static space") % 2**32,
        bucket=100_000,
        hashfxn=_stable,
    )
    model.build_vocab(corpus_iterable=sentences)
    if not len(model.wv):
        raise DataError(
            f"no token occurs {how.min_count} times: the corpus is too small for a static space",
            hint="Give more text, or lower min_count.",
        )
    ctx.log.info(f"static space: {len(model.wv):,} tokens, {how.dimensions} dimensions, {how.epochs} epochs")
    model.train(corpus_iterable=sentences, total_examples=model.corpus_count, epochs=how.epochs)
    counts = np.array([model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key])
    return Space(list(model.wv.index_to_key), np.asarray(model.wv.vectors, dtype=np.float32), counts, model.wv)


def _stable(text: str) -> int:
    """A hash that every process computes alike."""
    import zlib

    return zlib.crc32(text.encode())


class Sentences:
    """Texts as lists of a tokenizer's tokens, or of words without one, walked as often as training wants.

    Raises:
        DataError: words are wanted, and those of this script cannot be told apart here.
    """

    def __init__(self, texts: list[str], tokenizer: Tokenizer | None = None) -> None:
        self.texts = texts
        self.tokenizer = tokenizer
        self.words = splitter(texts) if tokenizer is None else None

    def __iter__(self) -> Iterator[list[str]]:
        block: list[str] = []
        for text in self.texts:
            block.append(text)
            if len(block) == 1024:
                yield from self._split(block)
                block = []
        yield from self._split(block)

    def _split(self, block: list[str]) -> Iterator[list[str]]:
        if self.words is not None:
            yield from map(self.words, block)
        elif self.tokenizer is not None:
            yield from (item.tokens for item in self.tokenizer.encode_batch(block, add_special_tokens=False))


def token_space(vocab: Vocab, texts: Iterable[str], how: FastText, ctx: Context) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of a vocabulary's own tokens on a corpus: (V, k) float32 of length one, and which tokens have one, (V,) bool."""
    kept = list(texts)  # walked once an epoch
    backend = vocab.tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    space = train_space(Sentences(kept, backend), how, ctx)
    places = {token: i for i, token in reversed(list(enumerate(vocab.tokens)))}
    vectors = np.zeros((len(vocab.tokens), how.dimensions), dtype=np.float32)
    known = np.zeros(len(vocab.tokens), dtype=bool)
    for word, vector in zip(space.words, unit(space.vectors), strict=True):
        if word in places:
            vectors[places[word]], known[places[word]] = vector, True
    return vectors, known


def spelt_tokens(vocab: Vocab, space: Space) -> tuple[np.ndarray, np.ndarray]:
    """A vocabulary's tokens as words of a space: (V, k) float32, and which have a vector, (V,) bool.  Special tokens have none.

    A token is written as people read it, alone and without spaces around (WECHSEL's rule); n-grams give it a vector where the space knows
    them, else it must be a word.
    """
    texts = [text.strip() for text in vocab.tokenizer.batch_decode([[i] for i in range(len(vocab.tokens))])]
    if space.model is not None:
        vectors = space.spelt(texts)
    else:
        places = {word: i for i, word in reversed(list(enumerate(space.words)))}
        rows = np.array([places.get(text, -1) for text in texts])
        vectors = np.where(rows[:, None] >= 0, space.vectors[rows], np.float32(0))
    known = np.abs(vectors).sum(1) > 0
    known[list(vocab.special.values())] = False
    return vectors, known


def read_space(resource: Resource, ctx: Context) -> Space:
    """Vectors in fastText's own format (``.bin``, n-grams and counts with them), or in the text format of word2vec and fastText.

    Text is ``word v1 v2 …``, with or without a first line of sizes; .gz too.

    Raises:
        DataError: a line of another length (or than the first line says), something that is no finite number, or no vectors.
    """
    words: list[str] = []
    rows: list[np.ndarray] = []
    paths = fetch(resource, ctx)
    if len(paths) == 1 and tables.suffix(paths[0]) == ".bin":
        return _read_fasttext(paths[0])
    for path in paths:
        _read_file(path, words, rows, ctx)
    if not rows:
        raise DataError("there are no vectors", where=", ".join(map(str, paths)))
    return Space(words, np.stack(rows))


def _read_fasttext(path: Path) -> Space:
    """A model that fastText saved; published ones take 7 GB of memory.

    Raises:
        DataError: it is none.
    """
    from gensim.models.fasttext import load_facebook_vectors

    try:
        found = load_facebook_vectors(str(path))
    except Exception as error:  # a damaged file ends in errors of struct, of numpy and of the codec
        raise DataError(
            f"cannot be read as a fastText model: {error}", where=str(path), hint="Give a .bin of fastText, or vectors as text (.vec)."
        ) from error
    counts = np.array([found.get_vecattr(word, "count") for word in found.index_to_key])
    return Space(list(found.index_to_key), np.asarray(found.vectors, dtype=np.float32), counts, found)


def _read_file(path: Path, words: list[str], rows: list[np.ndarray], ctx: Context) -> None:
    stated, begin = 0, len(words)
    for number, line in tables.lines(path):
        word, _, rest = line.rstrip().partition(" ")
        values = _numbers(rest)
        if values is None:
            raise DataError("not a word and its numbers", where=f"{path}:{number}", hint="The text format of word2vec or fastText is read.")
        if number == 1 and len(values) == 1 and word.isdigit():
            stated, width = int(word), int(values[0])
            continue
        if stated and len(values) != width:
            raise DataError(f"{len(values)} numbers where the first line says {width}", where=f"{path}:{number}")
        if rows and len(values) != len(rows[0]):
            raise DataError(f"{len(values)} numbers where others have {len(rows[0])}", where=f"{path}:{number}")
        words.append(word)
        rows.append(values)
        if len(words) == MAX_WORDS:
            return
    if len(words) - begin < stated:
        ctx.log.warning(f"{path} has {len(words) - begin:,} vectors where its first line says {stated:,}: is it cut short?")


def _numbers(text: str) -> np.ndarray | None:
    """Finite numbers between spaces; None where something else is among them."""
    try:
        values = np.fromstring(text, dtype=np.float32, sep=" ")
    except ValueError:
        return None
    return values if len(values) and np.isfinite(values).all() else None


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length one; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: np.ndarray = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return found
