"""Several normalizers in a row: a domain's and a language's."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from langadapt.contracts.component import Use
from langadapt.contracts.data import Normalizer


class Chain(Normalizer):
    """One normalizer after another, in order: a domain's masks first, then a language's spelling.

    Stated for you where a language and a domain each have one; ``{use: chain, steps: [twitter, indic]}`` writes it out.
    """

    name: ClassVar[str] = "chain"
    version: ClassVar[str] = "1"

    steps: Annotated[list[Any], Field(min_length=1), Use("normalizer")]

    def normalize(self, text: str) -> str:
        for step in self.steps:
            text = step.normalize(text)
        return text

    def fast(self) -> Any | None:
        """The steps' rules in a row; None when one of them cannot be expressed."""
        from tokenizers import normalizers

        rules = [step.fast() for step in self.steps]
        return None if None in rules else normalizers.Sequence(rules)
