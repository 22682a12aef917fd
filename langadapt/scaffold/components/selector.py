"""Which rows are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from langadapt.contracts import Context, Embeds, Selector

if TYPE_CHECKING:
    from datasets import Dataset


class Example(Selector):
    """Drops rows with a text of fewer than `least` characters."""

    name: ClassVar[str] = "example"

    least: Annotated[int, Field(ge=1)] = 3

    def select(self, rows: Dataset, encoder: Embeds | None, ctx: Context) -> Dataset:
        kept = [i for i, row in enumerate(rows) if self._long(row)]
        ctx.log.info(f"{self.name}: {len(rows) - len(kept):,} of {len(rows):,} rows are too short")
        return rows.select(kept)

    def _long(self, row: Any) -> bool:
        return all(len(value.strip()) >= self.least for value in row.values() if isinstance(value, str))
