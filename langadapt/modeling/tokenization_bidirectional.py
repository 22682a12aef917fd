"""WordPiece from both ends of a word, as a fast tokenizer.

A release carries a copy of this file, so that ``AutoTokenizer.from_pretrained(…, trust_remote_code=True)`` cuts words as training did;
without that flag transformers reads the same vocabulary from the front alone.  It imports nothing of langadapt for that reason.
"""

from __future__ import annotations

import ctypes
import json
import math
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import PreTokenizedString, Token, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

COUNTS = "piece_counts.json"
CACHE = 200_000
"""Distinct words whose cut is remembered."""


KEPT = threading.local()
"""Marks threads whose Python state stays."""


class BothEnds(dict[str, list[Token]]):
    """A pre-tokenizer behind the usual one, and in the model's place: cuts each word where its pieces are more frequent.

    KR-BERT (Lee et al. 2020, arXiv:2008.03979) segments a word by longest match from the front and from the back and keeps the candidate
    whose pieces are more frequent; here by their mean log frequency, the front's on a tie.

    It is a dictionary of the words met so far: the Rust tokenizer looks a known word up without a line of Python being run, and holds
    Python's lock for no longer than that.

    Args:
        vocab: WordPiece entries.
        counts: occurrences of each piece in the training text; others count once.  A piece that counts 0 was added as a whole word: it
            is no part of others, whose two readings stay what they were.
        unknown: the entry of words that neither reading can spell.
        longest_word: letters beyond which a word is unknown, as the model has it.
    """

    def __init__(
        self, vocab: Mapping[str, int], counts: Mapping[str, int], prefix: str = "##", unknown: str = "[UNK]", longest_word: int = 100
    ) -> None:
        super().__init__()
        self.words = {piece: vocab[piece] for piece, count in counts.items() if not count and piece in vocab}
        self.vocab = {piece: index for piece, index in vocab.items() if piece not in self.words}
        self.prefix, self.unknown, self.longest_word = prefix, unknown, longest_word
        options = {"unk_token": unknown, "max_input_chars_per_word": longest_word, "continuing_subword_prefix": prefix}
        self.front = models.WordPiece(vocab=self.vocab, **options)
        self.turned = _turned(self.vocab, prefix, unknown, longest_word)
        self.pieces = {index: piece for piece, index in self.vocab.items()}
        self.longest = max((len(piece.removeprefix(prefix)) for piece in self.vocab), default=1)
        self.weights = {index: math.log(counts.get(piece, 1) + 1) for piece, index in self.vocab.items()}

    def pre_tokenize(self, text: PreTokenizedString) -> None:
        """Called by the Rust tokenizer for every text."""
        if not hasattr(KEPT, "state"):
            # A thread of Rust's otherwise makes itself a Python state for each text anew, memory and all: half the time of two threads.
            ctypes.pythonapi.PyGILState_Ensure()
            KEPT.state = True
        text.tokenize(self.__getitem__)

    def __missing__(self, word: str) -> list[Token]:
        """The tokens of a word not met before; offsets count bytes of the word."""
        if len(self) >= CACHE:
            self.clear()
        self[word] = found = self._cut(word)
        return found

    def _cut(self, word: str) -> list[Token]:
        if word in self.words:
            return [Token(self.words[word], word, (0, len(word.encode())))]
        front: list[Token] = self.front.tokenize(word)  # one unknown token for a word that it cannot spell
        if len(front) == 1 and (front[0].value == word or len(word) > self.longest_word):
            return front
        spelt = [token.id for token in front]
        back = self._backward_ids(word)
        if back is None or back == spelt:
            return front
        unknown = len(front) == 1 and front[0].value == self.unknown
        return self._tokens(back) if unknown or self._mean(back) > self._mean(spelt) else front

    def _tokens(self, ids: list[int]) -> list[Token]:
        found, at = list[Token](), 0
        for i, index in enumerate(ids):
            piece = self.pieces[index]
            length = len(piece.removeprefix(self.prefix if i else "").encode())
            found.append(Token(index, piece, (at, at + length)))
            at += length
        return found

    def read(self, word: str) -> list[str] | None:
        """The better of a word's two readings; None where the vocabulary cannot spell it."""
        found = [token.value for token in self[word]]
        return None if found == [self.unknown] and word != self.unknown else found

    def weight(self, pieces: list[str]) -> float:
        """Mean log frequency."""
        return self._mean([self.vocab[piece] for piece in pieces])

    def _mean(self, ids: list[int]) -> float:
        weights = self.weights
        return sum([weights[index] for index in ids]) / len(ids)

    def forward(self, word: str) -> list[str] | None:
        """Longest match from the front; None where a rest is in no piece."""
        found = [token.value for token in self.front.tokenize(word)]
        return None if found == [self.unknown] else found

    def backward(self, word: str) -> list[str] | None:
        """Longest match from the back; None where a rest is in no piece."""
        found = self._backward_ids(word)
        return None if found is None else [self.pieces[index] for index in found]

    def _backward_ids(self, word: str) -> list[int] | None:
        """The Rust model reads the word turned round, with a mark at its beginning.

        Where it takes a piece from inside words for all that is left, the mark remains, and the word is read again here.
        """
        marked = BEGINNING in word or INSIDE in word
        found = [] if marked else self.turned.tokenize(word[::-1] + BEGINNING)
        if marked or (len(found) == 1 and found[0].value == self.unknown):
            pieces = self._backward(word)
            return None if pieces is None else [self.vocab[piece] for piece in pieces]
        ids = [token.id for token in found]
        ids.reverse()
        return ids

    def _backward(self, word: str) -> list[str] | None:
        vocab, pieces, end = self.vocab, list[str](), len(word)
        while end:
            for start in range(max(0, end - self.longest), end):
                piece = (self.prefix if start else "") + word[start:end]
                if piece in vocab:
                    break
            else:
                return None
            pieces.append(piece)
            end = start
        return pieces[::-1]


BEGINNING, INSIDE = "\0", "\1"
"""What stands behind a word that is turned round, and before its pieces but the first: letters of no language."""


def _turned(vocab: Mapping[str, int], prefix: str, unknown: str, longest_word: int) -> models.WordPiece:
    """A model that matches from the back, over words turned round."""
    entries = {unknown: vocab[unknown]}
    for piece, index in vocab.items():
        inside = piece.startswith(prefix) and piece != prefix
        turned = piece[len(prefix) :][::-1] if inside else piece[::-1] + BEGINNING
        entries[turned] = entries[INSIDE + turned] = index
    return models.WordPiece(vocab=entries, unk_token=unknown, max_input_chars_per_word=longest_word + 1, continuing_subword_prefix=INSIDE)


class BidirectionalWordPieceTokenizerFast(PreTrainedTokenizerFast):  # type: ignore[misc]
    """A fast WordPiece tokenizer with :class:`BothEnds` in front of its model."""

    vocab_files_names = {"tokenizer_file": "tokenizer.json", "counts_file": COUNTS}

    def __init__(self, *args: Any, counts_file: str | None = None, counts: Mapping[str, int] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        if counts_file is not None:
            counts = json.loads(Path(counts_file).read_text(encoding="utf-8"))
        self.piece_counts = dict(counts or {})
        self._plain = self.backend_tokenizer.pre_tokenizer
        self._attach()

    @classmethod
    def convert_to_native_format(cls, trust_remote_code: bool = False, **options: Any) -> dict[str, Any]:
        """Read ``tokenizer.json`` whole: transformers 5 takes it apart for a class with an ``__init__`` of its own."""
        return options

    def _attach(self) -> None:
        self.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([self._plain, pre_tokenizers.PreTokenizer.custom(self.both_ends)])

    @property
    def both_ends(self) -> BothEnds:
        """The two readings, without a memory of words."""
        model = self.backend_tokenizer.model
        vocab = self.backend_tokenizer.get_vocab(with_added_tokens=False)
        return BothEnds(vocab, self.piece_counts, model.continuing_subword_prefix, model.unk_token, model.max_input_chars_per_word)

    def plain_backend(self) -> Tokenizer:
        """A copy of the Rust tokenizer that reads from the front alone: what JSON can hold."""
        backend = self.backend_tokenizer
        ours, backend.pre_tokenizer = backend.pre_tokenizer, self._plain
        try:
            return Tokenizer.from_str(backend.to_str())
        finally:
            backend.pre_tokenizer = ours

    def __getstate__(self) -> dict[str, Any]:
        """For ``pickle`` and ``copy.deepcopy``: no Python inside the Rust tokenizer."""
        return {**self.__dict__, "_tokenizer": self.plain_backend(), "_plain": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._plain = self.backend_tokenizer.pre_tokenizer
        self._attach()

    def save_pretrained(self, folder: Any, *args: Any, **options: Any) -> Any:
        """Write ``tokenizer.json`` (which cannot hold a pre-tokenizer in Python), and the counts beside it."""
        backend = self.backend_tokenizer
        ours, backend.pre_tokenizer = backend.pre_tokenizer, self._plain
        try:
            found = super().save_pretrained(folder, *args, **options)
        finally:
            backend.pre_tokenizer = ours
        counts = json.dumps(self.piece_counts, ensure_ascii=False, sort_keys=True)
        (Path(folder) / COUNTS).write_text(counts + "\n", encoding="utf-8")
        return found
