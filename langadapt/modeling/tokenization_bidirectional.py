"""WordPiece from both ends of a word, as a fast tokenizer.

A release carries a copy of this file, so that ``AutoTokenizer.from_pretrained(…, trust_remote_code=True)`` cuts words as training did;
without that flag transformers reads the same vocabulary from the front alone.  It imports nothing of langadapt for that reason.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import NormalizedString, PreTokenizedString, pre_tokenizers
from transformers import PreTrainedTokenizerFast

COUNTS = "piece_counts.json"
CACHE = 200_000
"""Distinct words whose cut is remembered."""


class BothEnds:
    """A pre-tokenizer behind the usual one: cuts a word itself where matching from its end finds more frequent pieces.

    KR-BERT (Lee et al. 2020, arXiv:2008.03979) segments a word by longest match from the front and from the back and keeps the candidate
    whose pieces are more frequent; here by their mean log frequency, the front's on a tie.

    Args:
        vocab: WordPiece entries.
        counts: occurrences of each piece in the training text; others count once.
    """

    def __init__(self, vocab: Mapping[str, int], counts: Mapping[str, int], prefix: str = "##") -> None:
        self.vocab, self.prefix = frozenset(vocab), prefix
        self.longest = max((len(piece.removeprefix(prefix)) for piece in vocab), default=1)
        self.weights = {piece: math.log(count + 1) for piece, count in counts.items()}
        self.cuts: dict[str, list[tuple[int, int]] | None] = {}

    def pre_tokenize(self, text: PreTokenizedString) -> None:
        """Called by the Rust tokenizer for every text."""
        text.split(self._split)

    def _split(self, _: int, word: NormalizedString) -> list[NormalizedString]:
        spelt = str(word.normalized)
        if spelt not in self.cuts:
            if len(self.cuts) >= CACHE:
                self.cuts.clear()
            self.cuts[spelt] = self._cut(spelt)
        cut = self.cuts[spelt]
        if cut is None:
            return [word]
        parts = [word[start:end] for start, end in cut]
        for part in parts[1:]:
            part.prepend(self.prefix)
        return parts

    def _cut(self, word: str) -> list[tuple[int, int]] | None:
        """Where the back's candidate cuts a word; None where the front's stands."""
        if word in self.vocab:
            return None
        front, back = self.forward(word), self.backward(word)
        if back is None or front == back or (front is not None and self.weight(front) >= self.weight(back)):
            return None
        ends, at = [], 0
        for i, piece in enumerate(back):
            length = len(piece) - (len(self.prefix) if i else 0)
            ends.append((at, at + length))
            at += length
        return ends

    def weight(self, pieces: list[str]) -> float:
        """Mean log frequency."""
        return sum(self.weights.get(piece, math.log(2)) for piece in pieces) / len(pieces)

    def forward(self, word: str) -> list[str] | None:
        """Longest match from the front; None where a rest is in no piece."""
        vocab, pieces, start, length = self.vocab, [], 0, len(word)
        while start < length:
            mark = self.prefix if start else ""
            for end in range(min(length, start + self.longest), start, -1):
                piece = mark + word[start:end]
                if piece in vocab:
                    break
            else:
                return None
            pieces.append(piece)
            start = end
        return pieces

    def backward(self, word: str) -> list[str] | None:
        """Longest match from the back; None where a rest is in no piece."""
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

    def _attach(self) -> None:
        both = BothEnds(self.backend_tokenizer.get_vocab(with_added_tokens=False), self.piece_counts)
        self.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([self._plain, pre_tokenizers.PreTokenizer.custom(both)])

    def save_pretrained(self, folder: Any, *args: Any, **options: Any) -> Any:
        """Write ``tokenizer.json`` (which cannot hold a pre-tokenizer in Python), and the counts beside it."""
        self.backend_tokenizer.pre_tokenizer = self._plain
        try:
            found = super().save_pretrained(folder, *args, **options)
        finally:
            self._attach()
        counts = json.dumps(self.piece_counts, ensure_ascii=False, sort_keys=True)
        (Path(folder) / COUNTS).write_text(counts + "\n", encoding="utf-8")
        return found
