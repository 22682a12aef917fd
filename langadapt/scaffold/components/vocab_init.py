"""Where rows of new tokens come from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from langadapt.contracts import Context, Mixture, Vocab, VocabInit


class Example(VocabInit):
    """Tokens of the old vocabulary keep their rows; every other gets the mean of the rows that the old tokenizer spells it with."""

    name: ClassVar[str] = "example"

    def mixture(self, old: Vocab, new: Vocab, texts: Iterable[str] | None, ctx: Context) -> Mixture:
        from scipy.sparse import lil_array

        places = {token: i for i, token in enumerate(old.tokens)}
        weights = lil_array((len(new.tokens), len(old.tokens)), dtype="float32")
        provenance = []
        for row, token in enumerate(new.tokens):
            sources = [places[token]] if token in places else self._spelt(token, old)
            provenance.append("copied" if token in places else "mean")
            for source in sources:
                weights[row, source] += 1 / len(sources)
        return Mixture(weights.tocsr(), provenance)

    def _spelt(self, token: str, old: Vocab) -> list[int]:
        """The old tokens of a piece's letters; the unknown token where there are none."""
        text = token.removeprefix("##").removeprefix("\u2581").removeprefix("\u0120")
        return old.tokenizer(text, add_special_tokens=False)["input_ids"] or [old.special["unk"]]
