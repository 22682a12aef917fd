"""WordPiece from both ends of a word, as a fast tokenizer.

A release carries a copy of this file, so that ``AutoTokenizer.from_pretrained(…, trust_remote_code=True)`` cuts words as training did;
without that flag transformers reads the same vocabulary from the front alone.  It imports nothing of langadapt for that reason.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import pickle
import threading
from collections.abc import Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import PreTokenizedString, Token, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

COUNTS = "piece_counts.json"
CACHE = 200_000
"""Distinct words whose cut is remembered."""

CHOICES = 2_000_000
"""Distinct words whose better reading is remembered, 16 bytes each."""

FEW = 32
"""Texts that are read one by one: arrays pay from here on."""

KEPT = threading.local()
"""Marks threads whose Python state stays."""


class BothEnds(dict[str, list[Token]]):
    """A pre-tokenizer behind the usual one, and in the model's place: cuts each word where its pieces are more frequent.

    KR-BERT (Lee et al. 2020, arXiv:2008.03979) segments a word by longest match from the front and from the back and keeps the candidate
    whose pieces are more frequent.  Its code (snunlp/KR-BERT, tokenization_ranked.py, 7088b16) sorts the ranks of each candidate's pieces,
    1 being the most frequent, and takes the smaller list, compared from its first rank on; the back's of equal ones: `choice` ``rank``.
    ``mean-log`` compares mean log frequencies, and takes the front's on a tie.  There a rank is a line of the vocabulary file, here the
    place by `counts`; and a word that one reading cannot spell is unknown there, while here the other one reads it.

    It is a dictionary of the words met so far: the Rust tokenizer looks a known word up without a line of Python being run, and holds
    Python's lock for no longer than that.

    Args:
        vocab: WordPiece entries.
        counts: occurrences of each piece in the training text; others count once.  A piece that counts 0 was added as a whole word: it
            is no part of others, whose two readings stay what they were.
        unknown: the entry of words that neither reading can spell.
        longest_word: letters beyond which a word is unknown, as the model has it.
        choice: ``rank`` or ``mean-log``.
    """

    def __init__(
        self,
        vocab: Mapping[str, int],
        counts: Mapping[str, int],
        prefix: str = "##",
        unknown: str = "[UNK]",
        longest_word: int = 100,
        choice: str = "rank",
    ) -> None:
        super().__init__()
        self.by_rank = choice == "rank"
        self.words = {piece: vocab[piece] for piece, count in counts.items() if not count and piece in vocab}
        self.vocab = {piece: index for piece, index in vocab.items() if piece not in self.words}
        self.prefix, self.unknown, self.longest_word = prefix, unknown, longest_word
        options = {"unk_token": unknown, "max_input_chars_per_word": longest_word, "continuing_subword_prefix": prefix}
        self.front = models.WordPiece(vocab=self.vocab, **options)
        self.turned = _turned(self.vocab, prefix, unknown, longest_word)
        self.pieces = {index: piece for piece, index in self.vocab.items()}
        self.longest = max((len(piece.removeprefix(prefix)) for piece in self.vocab), default=1)
        # Whole numbers: a sum is the same in any order, so that a tie is one wherever it is taken.
        self.weights = {index: round(math.log(counts.get(piece, 1) + 1) * 2**32) for piece, index in self.vocab.items()}
        often = sorted(self.vocab.items(), key=lambda entry: (-counts.get(entry[0], 1), entry[1]))
        self.ranks = {index: rank for rank, (_, index) in enumerate(often, start=1)}

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
        return self._tokens(back) if unknown or self.rarer(spelt, back) else front

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

    def rarer(self, ids: list[int], others: list[int]) -> bool:
        """Whether the other reading's pieces are more frequent than the one's."""
        if self.by_rank:
            ranks = self.ranks
            return sorted([ranks[index] for index in ids]) >= sorted([ranks[index] for index in others])
        weights = self.weights
        return sum([weights[index] for index in ids]) * len(others) < sum([weights[index] for index in others]) * len(ids)

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


class _Decided(NamedTuple):
    """Words met so far: their keys in order, (W,) uint64, and which of the runs won, (W,) int64, -1 for the front's reading."""

    keys: np.ndarray
    run: np.ndarray
    begins: np.ndarray
    """Where each run begins in `ids`, and where the last one ends: (R + 1,)."""
    ids: np.ndarray
    """Pieces of the words that are read from the back, one after the other."""


NOTHING = _Decided(np.empty(0, np.uint64), np.empty(0, np.int64), np.zeros(1, np.int64), np.empty(0, np.int64))


class BatchReader:
    """Ids of many texts at once, as :class:`BothEnds` cuts them, with no line of Python for a word.

    Rust reads all texts from the front, on all its threads.  What it found for a word stands for the word: a key over these ids says
    whether its better reading is known, and new words are read from the back by Rust too.  Then the ids of the words that the back won
    are put in place of the front's.

    Two of n words have the same 64-bit key with probability n²/2⁶⁵: 5e-8 for a million.

    Args:
        front: the tokenizer with its plain model.
        both: what reads single words.
    """

    def __init__(self, front: Tokenizer, both: BothEnds) -> None:
        self.front, self.both = front, both
        self.turned = Tokenizer(both.turned)
        self.turned.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        size = 1 + max(front.get_vocab(with_added_tokens=True).values())
        self.inside, self.weights, self.ranks = np.zeros(size, dtype=bool), np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
        self.spelt = np.full(size, "", dtype=object)
        self.turned_spelt = np.full(size, "", dtype=object)
        for index, piece in both.pieces.items():
            self.inside[index] = piece.startswith(both.prefix) and piece != both.prefix
            self.spelt[index] = piece[len(both.prefix) :] if self.inside[index] else piece
            self.turned_spelt[index] = self.spelt[index][::-1] + ("" if self.inside[index] else BEGINNING + " ")
            self.weights[index], self.ranks[index] = both.weights[index], both.ranks[index]
        self.unknown = both.vocab[both.unknown]
        self.weights[self.unknown], self.ranks[self.unknown] = 0, size + 1  # wins against nothing
        rng = np.random.default_rng(0)  # a word's key is a sum over its pieces and their places
        self.of_piece = rng.integers(1, 2**63, size, dtype=np.uint64)
        self.of_place = rng.integers(1, 2**63, both.longest_word + 1, dtype=np.uint64) | np.uint64(1)
        self.decided = NOTHING
        self.lock = threading.Lock()

    def ids(self, texts: Sequence[str], special_tokens: bool) -> tuple[list[list[int]], list[int]]:
        """Ids of each text, and which texts have a word that is no sequence of pieces from the front: it is to be read by itself."""
        found = [item.ids for item in self.front.encode_batch_fast(list(texts), add_special_tokens=special_tokens)]
        ends = np.cumsum(np.fromiter(map(len, found), np.int64, len(found)))
        flat = np.fromiter(chain.from_iterable(found), np.int64, ends[-1])
        odd = np.unique(np.searchsorted(ends, np.flatnonzero(flat == self.unknown), side="right")).tolist()
        words = np.flatnonzero(~self.inside[flat])
        sizes = np.diff(words, append=len(flat))
        cut = np.flatnonzero(sizes > 1)  # a word in one piece stays so
        keys = self._keys(flat, words[cut], sizes[cut])
        decided = self._decide(flat, words[cut], sizes[cut], keys)
        run = decided.run[np.searchsorted(decided.keys, keys)]
        if (run < 0).all():
            return found, odd
        begins, lengths = words.copy(), sizes.copy()
        won, run = cut[run >= 0], run[run >= 0]
        begins[won], lengths[won] = len(flat) + decided.begins[run], np.diff(decided.begins)[run]
        chosen = np.concatenate([flat, decided.ids])[_ranges(begins, lengths)].tolist()
        until = np.append(0, np.cumsum(lengths))[np.searchsorted(words, np.append(0, ends))].tolist()
        return [chosen[start:end] for start, end in pairwise(until)], odd

    def _keys(self, flat: np.ndarray, words: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        if not len(words):
            return np.empty(0, np.uint64)
        place = _ranges(np.zeros_like(words), sizes)
        mixed = self.of_piece[flat[_ranges(words, sizes)]] * self.of_place[place]
        mixed ^= mixed >> np.uint64(29)
        return np.add.reduceat(mixed, np.cumsum(sizes) - sizes)

    def _decide(self, flat: np.ndarray, words: np.ndarray, sizes: np.ndarray, keys: np.ndarray) -> _Decided:
        """What is known of words once these are: their keys stand in it."""
        with self.lock:
            decided = self.decided
            if len(decided.keys) > CHOICES:
                decided = NOTHING
            new, first = np.unique(keys, return_index=True)
            at = np.searchsorted(decided.keys, new)
            fresh = (at == len(decided.keys)) | (np.append(decided.keys, np.uint64(0))[at] != new)
            if fresh.any():
                new, first, at = new[fresh], first[fresh], at[fresh]
                decided = _with(decided, new, at, *self._backs(flat, words[first], sizes[first]))
            self.decided = decided
            return decided

    def _backs(self, flat: np.ndarray, words: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(which words the back won, (W,) bool; lengths of their readings; their readings, one after the other)."""
        front = flat[_ranges(words, sizes)]
        begins = np.cumsum(sizes) - sizes
        back, lengths = self._read_backwards(front, begins)
        starts = np.cumsum(lengths) - lengths
        if self.both.by_rank:
            won = ~_smaller(_sorted_runs(self.ranks[front], sizes), sizes, _sorted_runs(self.ranks[back], lengths), lengths)
        else:
            ours = np.add.reduceat(self.weights[back], starts) * sizes
            won = ours > np.add.reduceat(self.weights[front], begins) * lengths
        return won, lengths[won], back[_ranges(starts[won], lengths[won])]

    def _read_backwards(self, front: np.ndarray, begins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(pieces from the back, word by word; how many each word has); one unknown piece for a word that cannot be read so."""
        parts = np.array_split(np.arange(len(begins)), min(len(begins), 8 * (os.cpu_count() or 1)))
        edges = [*(begins[part[0]] for part in parts), len(front)]
        turned = ["".join(self.turned_spelt[front[a:z]][::-1].tolist()) for a, z in pairwise(edges)]
        read = [np.array(item.ids[::-1], dtype=np.int64) for item in self.turned.encode_batch_fast(turned)]
        back = np.concatenate(read)
        firsts = np.flatnonzero(~self.inside[back])
        lengths = np.diff(firsts, append=len(back))
        until, more = np.append(begins, len(front)), list[int]()
        for i in np.flatnonzero(back[firsts] == self.unknown).tolist():  # the mark of a beginning remained
            pieces = self.both.backward("".join(self.spelt[front[until[i] : until[i + 1]]].tolist()))
            if pieces is not None:
                firsts[i], lengths[i] = len(back) + len(more), len(pieces)
                more += [self.both.vocab[piece] for piece in pieces]
        return np.append(back, np.array(more, dtype=np.int64))[_ranges(firsts, lengths)], lengths


def _sorted_runs(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Each run of the values (n,) in increasing order; `lengths` are the runs'."""
    return values[np.lexsort((values, np.repeat(np.arange(len(lengths)), lengths)))]


def _smaller(left: np.ndarray, left_lengths: np.ndarray, right: np.ndarray, right_lengths: np.ndarray) -> np.ndarray:
    """(W,) whether each run of the left is smaller than the right's, as lists are: by the first difference, or by being its beginning."""
    begins, others = np.cumsum(left_lengths) - left_lengths, np.cumsum(right_lengths) - right_lengths
    found = left_lengths < right_lengths  # of a run and its beginning
    open_ = np.arange(len(begins))
    for place in range(int(min(left_lengths.max(initial=0), right_lengths.max(initial=0)))):
        open_ = open_[(left_lengths[open_] > place) & (right_lengths[open_] > place)]
        if not len(open_):
            break
        one, other = left[begins[open_] + place], right[others[open_] + place]
        differ = one != other
        found[open_[differ]] = (one < other)[differ]
        open_ = open_[~differ]
    return found


def _ranges(begins: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """begins[0], begins[0] + 1, …, lengths[0] of them, and so on."""
    ends = np.cumsum(lengths)
    return np.repeat(begins - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)


def _with(decided: _Decided, keys: np.ndarray, at: np.ndarray, won: np.ndarray, lengths: np.ndarray, ids: np.ndarray) -> _Decided:
    runs = len(decided.begins) - 1
    run = np.where(won, runs + np.cumsum(won) - 1, -1)
    begins = np.append(decided.begins, decided.begins[-1] + np.cumsum(lengths))
    return _Decided(np.insert(decided.keys, at, keys), np.insert(decided.run, at, run), begins, np.append(decided.ids, ids))


class BidirectionalWordPieceTokenizerFast(PreTrainedTokenizerFast):  # type: ignore[misc]
    """A fast WordPiece tokenizer with :class:`BothEnds` in front of its model."""

    vocab_files_names = {"tokenizer_file": "tokenizer.json", "counts_file": COUNTS}

    def __init__(
        self,
        *args: Any,
        counts_file: str | None = None,
        counts: Mapping[str, int] | None = None,
        choice: str = "mean-log",  # what is saved without one is from before there was another
        **options: Any,
    ) -> None:
        super().__init__(*args, choice=choice, **options)
        self.choice = choice
        if counts_file is not None:
            counts = json.loads(Path(counts_file).read_text(encoding="utf-8"))
        self.piece_counts = dict(counts or {})
        self._plain = self.backend_tokenizer.pre_tokenizer
        self._reader: tuple[bytes, BatchReader | None] | None = None
        self._attach()

    @classmethod
    def convert_to_native_format(cls, trust_remote_code: bool = False, **options: Any) -> dict[str, Any]:
        """Read ``tokenizer.json`` whole: transformers 5 takes it apart for a class with an ``__init__`` of its own."""
        return options

    def _attach(self) -> None:
        self._both = self.both_ends
        self.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([self._plain, pre_tokenizers.PreTokenizer.custom(self._both)])

    @property
    def both_ends(self) -> BothEnds:
        """The two readings, without a memory of words."""
        model = self.backend_tokenizer.model
        vocab = self.backend_tokenizer.get_vocab(with_added_tokens=False)
        longest = model.max_input_chars_per_word
        return BothEnds(vocab, self.piece_counts, model.continuing_subword_prefix, model.unk_token, longest, self.choice)

    def token_ids(self, texts: Sequence[str], special_tokens: bool = True) -> list[list[int]]:
        """Ids of texts, neither cut nor padded: those of ``backend_tokenizer.encode_batch``, which has offsets too and takes longer."""
        reader = self._batch_reader() if len(texts) > FEW else None
        if reader is None:
            return [item.ids for item in self.backend_tokenizer.encode_batch_fast(list(texts), add_special_tokens=special_tokens)]
        found, odd = reader.ids(texts, special_tokens)
        again = self.backend_tokenizer.encode_batch_fast([texts[i] for i in odd], add_special_tokens=special_tokens)
        for i, item in zip(odd, again, strict=True):
            found[i] = item.ids
        return found

    def _batch_reader(self) -> BatchReader | None:
        """None where ids from the front do not tell words apart: words added whole, or marks inside words."""
        backend = self.backend_tokenizer
        state = pickle.dumps((backend.get_vocab_size(), backend.normalizer, backend.post_processor))
        if self._reader is None or self._reader[0] != state:
            both = self._both
            parted = len(self._plain.pre_tokenize_str(f"a {both.prefix}a")) > 2
            marked = any(BEGINNING in piece or INSIDE in piece for piece in both.vocab)
            front = self._front() if parted and not marked and not both.words else None
            self._reader = state, BatchReader(front, both) if front is not None else None
        return self._reader[1]

    def _front(self) -> Tokenizer | None:
        """Another Rust tokenizer around the same model, made while other threads may be reading; None where its ids would be others."""
        backend = self.backend_tokenizer
        front = Tokenizer(backend.model)
        front.normalizer, front.pre_tokenizer, front.post_processor = backend.normalizer, self._plain, backend.post_processor
        front.encode_special_tokens = backend.encode_special_tokens
        added = sorted(backend.get_added_tokens_decoder().items())
        for _, token in added:
            (front.add_special_tokens if token.special else front.add_tokens)([token])
        same = [(i, token.content) for i, token in sorted(front.get_added_tokens_decoder().items())]
        return front if same == [(i, token.content) for i, token in added] else None

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
        return {**self.__dict__, "_tokenizer": self.plain_backend(), "_plain": None, "_both": None, "_reader": None}

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
