"""mean-subword: a new token starts at the mean of the old pieces that spelt it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from langadapt.registry.component import Component, Context
from langadapt.registry.kinds import Mixture, Vocab
from langadapt_vocab.shared import canonical_tokens, shared_ids, sparse
from langadapt_vocab.simple import drawn


class MeanSubword(Component):
    """Copy shared tokens; a new token gets the mean of its pieces under the old tokenizer.

    IndoBERTweet (Koto et al. 2021, arXiv:2109.04607).  A token that the old tokenizer cannot spell (unknown script) starts at the
    mean of all rows.
    """

    kind: ClassVar[str] = "vocab-init"
    name: ClassVar[str] = "mean-subword"

    def mixture(self, old: Vocab, new: Vocab, texts: Iterable[str] | None, ctx: Context) -> Mixture:
        shared = shared_ids(old, new)
        fresh = [i for i in range(len(new.tokens)) if i not in shared]
        spelt = dict(zip(fresh, pieces(old, _surface(new, fresh)), strict=True))
        rows, words = [], []
        for i in range(len(new.tokens)):
            if i in shared:
                rows.append([shared[i]])
                words.append("copied")
            elif spelt[i]:
                rows.append(spelt[i])
                words.append("mean of pieces")
            else:
                rows.append([])
                words.append("mean of all")
        missing = [i for i, row in enumerate(rows) if not row]
        return Mixture(sparse(rows, len(old.tokens)), words, drawn(old, missing, ctx, spread=0.01))


def _surface(vocab: Vocab, ids: list[int]) -> list[tuple[str, bool]]:
    """(text of a token, whether it begins a word)."""
    found = []
    spelt = canonical_tokens(vocab)
    for i in ids:
        token = spelt[i]
        found.append((token.removeprefix("▁").strip("\0"), token.startswith("▁")))
    return found


def pieces(old: Vocab, surfaces: list[tuple[str, bool]]) -> list[list[int]]:
    """Old ids that spell each text; for one that continues a word, without the mark of a word's beginning.

    Unknown pieces do not count: a text spelt by nothing else gets an empty list.
    """
    backend = old.tokenizer.backend_tokenizer
    unknown = old.special.get("unk")
    places = {token: index for index, token in enumerate(canonical_tokens(old))}
    found = []
    encoded = backend.encode_batch_fast([text for text, _ in surfaces], add_special_tokens=False)
    for item, (_, begins) in zip(encoded, surfaces, strict=True):
        ids = [i for i in item.ids if i != unknown]
        if ids and not begins:
            first = old.tokens[ids[0]]
            inner = first.removeprefix("▁").removeprefix("Ġ")
            if not inner:
                ids = ids[1:]
            elif inner in places:
                ids[0] = places[inner]
        found.append(ids)
    return found
