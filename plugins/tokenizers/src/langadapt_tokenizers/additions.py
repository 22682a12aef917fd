"""New words inside a tokenizer's model, each so that it comes out as one token: how every model type takes them."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

from langadapt_tokenizers.rebuild import pair, product, renumber

EDGE = 1e-4
"""By how much, in nats, a Unigram word beats its own pieces when its corpus frequency alone would not do it."""


@dataclass(frozen=True)
class Word:
    """A word as the tokenizer's model sees it (``▁word``, ``Ġword``), and what it costs now.

    Args:
        text: the word; of a BPE with marks at the ends of words, without that mark.
        count: occurrences in the corpus.
        pieces: what it is cut into now.
        cost: tokens it takes, each letter of an unknown stretch counted as one, and the loss of them as one more.
    """

    text: str
    count: int
    pieces: tuple[str, ...]
    cost: int

    @property
    def saves(self) -> int:
        """Tokens saved in the corpus when the word is one."""
        return self.count * (self.cost - 1)


def whole(model: dict[str, Any], word: str) -> str:
    """The token that a whole word is."""
    return word + (model.get("end_of_word_suffix") or "")


def next_id(state: dict[str, Any]) -> int:
    """The first id behind all others: numbering may have holes, and then the number of tokens is somebody's id."""
    vocab = state["model"]["vocab"]
    ids = vocab.values() if isinstance(vocab, dict) else range(len(vocab))
    return 1 + max([*ids, *(item["id"] for item in state["added_tokens"])], default=-1)


def add_entries(state: dict[str, Any], words: list[Word]) -> list[Word]:
    """WordPiece: a whole word is its own longest match, so an entry is enough."""
    first = next_id(state)
    for i, word in enumerate(words):
        state["model"]["vocab"][word.text] = first + i
    return words


def add_pieces(state: dict[str, Any], words: list[Word], total: int) -> list[Word]:
    """Unigram: a word's log-probability in the corpus, or just above its best cut into others where that would win.

    A cut is made of shorter pieces, new ones too: going from short words to long ones, every score is final when it is compared.

    Args:
        total: words of the corpus.
    """
    vocab = state["model"]["vocab"]
    scores: dict[str, float] = dict(vocab)
    lowest = min(scores.values())
    unknown = lowest - 10.0  # what tokenizers takes for a letter that is in no piece
    longest = max(map(len, scores))
    for word in sorted(words, key=lambda word: len(word.text)):
        own = max(math.log(word.count / total), lowest)  # a lower one would move the price of unknown letters in old text
        scores[word.text] = max(own, best_cut(word.text, scores, longest, unknown) + EDGE)
        longest = max(longest, len(word.text))
    first = len(vocab)
    vocab += [[word.text, scores[word.text]] for word in words]
    # Added tokens behind the pieces would stand where the new ones stand now.
    order = {i: i if i < first else i + len(words) for i in range(next_id(state) + 1)}
    for item in state["added_tokens"]:
        item["id"] = order[item["id"]]
    renumber(state.get("post_processor"), order)
    return words


def best_cut(word: str, scores: dict[str, float], longest: int, unknown: float) -> float:
    """Score of the best segmentation of a word into two pieces or more (Viterbi)."""
    best = [0.0] + [-math.inf] * len(word)
    for end in range(1, len(word) + 1):
        best[end] = best[end - 1] + scores.get(word[end - 1], unknown) if len(word) > 1 else unknown
        for start in range(max(0, end - longest), end):
            piece = word[start:end]
            if len(piece) < len(word) and piece in scores and best[start] + scores[piece] > best[end]:
                best[end] = best[start] + scores[piece]
    return best[-1]


def add_merges(state: dict[str, Any], words: list[Word], budget: int) -> list[Word]:
    """BPE: merges behind all others, until each word is one token.

    After every new merge the word is put together anew by all merges, old and new: a merge acts wherever its parts stand side by
    side, not only where it was wanted.  None of the old merges changes its turn, so old text is cut as before unless it holds a
    new token; and no later merge comes between the earlier ones of a word that is done.
    """
    model = state["model"]
    vocab, merges = model["vocab"], model["merges"]
    as_list = bool(merges) and isinstance(merges[0], list)
    ranks = {pair(merge): rank for rank, merge in enumerate(merges)}
    number = next_id(state)
    added = []
    for word in words:
        steps = steps_to_one(list(word.pieces), ranks, model)
        new = dict.fromkeys(product(model, *both) for both in steps if product(model, *both) not in vocab)
        if len(new) > budget:
            continue
        for both in steps:
            ranks[both] = len(ranks)
            merges.append(list(both) if as_list else " ".join(both))
        for one in new:
            vocab[one] = number
            number += 1
        budget -= len(new)
        added.append(word)
        if not budget:
            break
    return added


def steps_to_one(pieces: list[str], ranks: dict[tuple[str, str], int], model: dict[str, Any]) -> list[tuple[str, str]]:
    """Merges that must be added, in their order, to make one token of a word's pieces."""
    tried, steps = dict[tuple[str, str], int](), list[tuple[str, str]]()
    left = merged(list(pieces), ranks, tried, model)
    while len(left) > 1:
        steps.append((left[0], left[1]))
        tried[steps[-1]] = len(ranks) + len(tried)
        left = merged(list(pieces), ranks, tried, model)
    return steps


def merged(pieces: list[str], ranks: dict[tuple[str, str], int], more: dict[tuple[str, str], int], model: dict[str, Any]) -> list[str]:
    """Pieces after all merges, lowest rank first, leftmost first: what the model will do."""
    last = len(ranks) + len(more)
    while len(pieces) > 1:
        pairs = list(itertools.pairwise(pieces))
        rank, place = min((ranks.get(both, more.get(both, last)), i) for i, both in enumerate(pairs))
        if rank == last:
            break
        pieces[place : place + 2] = [product(model, *pairs[place])]
    return pieces
