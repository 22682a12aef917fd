"""mean-subword: a new token starts at the mean of the old pieces that spelt it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from langadapt.registry.component import Component, Context
from langadapt.registry.kinds import Mixture, Vocab
from langadapt_vocab.shared import OWN, canonical_tokens, is_byte_level, shared_ids, sparse
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
        found.append(("" if token.startswith(OWN) else token.removeprefix("▁"), token.startswith("▁")))
    return found


def pieces(old: Vocab, surfaces: list[tuple[str, bool]]) -> list[list[int]]:
    """Old ids that spell each text; for one that continues a word, without the mark of a word's beginning.

    Unknown pieces do not count: a text spelt by nothing else gets an empty list.
    """
    unknown = old.special.get("unk")
    spelt = canonical_tokens(old)
    places = {token: index for index, token in reversed(list(enumerate(spelt)))}
    space = " " if is_byte_level(old) else ""  # other types mark the beginning of a word by themselves
    backend = old.tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    found = []
    encoded = backend.encode_batch_fast([space + text if begins else text for text, begins in surfaces], add_special_tokens=False)
    for item, (_, begins) in zip(encoded, surfaces, strict=True):
        ids = [i for i in item.ids if i != unknown]
        if len(ids) < len(item.ids) and all(spelt[i] == "▁" for i in ids):  # the mark of a word's beginning, and nothing known
            ids = []
        if ids and not begins and spelt[ids[0]].startswith("▁"):
            inner = spelt[ids[0]].removeprefix("▁")
            if not inner:
                ids = ids[1:]
            elif inner in places:
                ids[0] = places[inner]
        found.append(ids)
    return found
