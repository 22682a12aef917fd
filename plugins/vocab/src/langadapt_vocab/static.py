"""Static spaces: one vector a token or word, trained on the corpus at hand or read from a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
    """Words and their vectors, (n, k) float32 of length one."""

    words: list[str]
    vectors: np.ndarray

    def folded(self) -> dict[str, int]:
        """Word in lower case → row of its most frequent spelling, as dictionaries are looked up; German nouns have no other."""
        return {self.words[i].lower(): i for i in reversed(range(len(self.words)))}


def train_space(sentences: Sentences, dimensions: int, epochs: int, min_count: int, ctx: Context) -> Space:
    """Skip-grams with character n-grams (fastText; Bojanowski et al. 2017, arXiv:1607.04606), in one thread: equal text, equal space.

    Raises:
        DataError: no word occurs `min_count` times.
    """
    from gensim.models import FastText

    model = FastText(
        vector_size=dimensions,
        sg=1,
        window=5,
        min_count=min_count,
        workers=1,
        seed=ctx.seed_for("static space") % 2**32,
        bucket=100_000,
        hashfxn=_stable,
    )
    model.build_vocab(corpus_iterable=sentences)
    if not len(model.wv):
        raise DataError(
            f"no token occurs {min_count} times: the corpus is too small for a static space", hint="Give more text, or lower min_count."
        )
    ctx.log.info(f"static space: {len(model.wv):,} tokens, {dimensions} dimensions, {epochs} epochs")
    model.train(corpus_iterable=sentences, total_examples=model.corpus_count, epochs=epochs)
    return Space(list(model.wv.index_to_key), unit(np.asarray(model.wv.vectors, dtype=np.float32)))


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


def token_space(
    vocab: Vocab, texts: Iterable[str], dimensions: int, epochs: int, min_count: int, ctx: Context
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of a vocabulary's own tokens on a corpus: (V, k) float32 of length one, and which tokens have one, (V,) bool."""
    kept = list(texts)  # walked once an epoch
    backend = vocab.tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    space = train_space(Sentences(kept, backend), dimensions, epochs, min_count, ctx)
    places = {token: i for i, token in reversed(list(enumerate(vocab.tokens)))}
    vectors = np.zeros((len(vocab.tokens), dimensions), dtype=np.float32)
    known = np.zeros(len(vocab.tokens), dtype=bool)
    for word, vector in zip(space.words, space.vectors, strict=True):
        if word in places:
            vectors[places[word]], known[places[word]] = vector, True
    return vectors, known


def read_space(resource: Resource, ctx: Context) -> Space:
    """Vectors in the text format of word2vec and fastText (``word v1 v2 …``, with or without a first line of sizes; .gz too).

    Raises:
        DataError: a line of another length (or than the first line says), something that is no finite number, or no vectors.
    """
    words: list[str] = []
    rows: list[np.ndarray] = []
    for path in fetch(resource, ctx):
        _read_file(path, words, rows, ctx)
    if not rows:
        raise DataError("there are no vectors", where=", ".join(map(str, fetch(resource, ctx))))
    return Space(words, unit(np.stack(rows)))


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
