"""A vocabulary for a language's text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from langadapt.contracts import Context, TokenizerTrainer
from langadapt.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Example(TokenizerTrainer):
    """The base's tokenizer with the corpus's most frequent words that it cuts into pieces, as tokens of their own."""

    name: ClassVar[str] = "example"

    add: Annotated[int, Field(ge=1)] = 1000
    """Words to add."""

    def train(self, texts: Iterable[str], base: PreTrainedTokenizerFast | None, ctx: Context) -> PreTrainedTokenizerFast:
        import copy

        from tokenizers import AddedToken

        if base is None:
            raise ModelError(f"'{self.name}' extends a base's tokenizer, and there is none", hint="Name the stage's encoder.")
        found = copy.deepcopy(base)
        counts = Counter(word for text in texts for word in text.split() if word.isalpha())
        # Equal counts go by spelling: the same corpus must give the same vocabulary.
        words = sorted((word for word in counts if len(base.tokenize(word)) > 1), key=lambda word: (-counts[word], word))
        found.add_tokens([AddedToken(word, single_word=True) for word in words[: self.add]])  # never inside another word
        return found
