"""Input rows that are computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from langadapt.contracts import Embedding

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerFast


class Example(Embedding):
    """A row a token, learnt in `rank` numbers and mapped to the width: a table that is rank / width as large."""

    name: ClassVar[str] = "example"

    rank: int = 16

    def build(self, tokenizer: PreTrainedTokenizerFast, width: int) -> nn.Module:
        from torch import nn

        class LowRank(nn.Module):
            def __init__(self, size: int, rank: int) -> None:
                super().__init__()
                self.table, self.up = nn.Embedding(size, rank), nn.Linear(rank, width, bias=False)

            def forward(self, ids: Any) -> Any:
                # Some bodies have more rows than tokens: numbers without a token share the last row.
                return self.up(self.table(ids.clamp(max=self.table.num_embeddings - 1)))

        return LowRank(max(tokenizer.get_vocab().values()) + 1, self.rank)
