"""Columns that an encoder or a scorer adds to data once, so that training need not ask it again at every step."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from langadapt.contracts.component import Component, Context
from langadapt.contracts.data import Columns
from langadapt.contracts.encoder import Embeds, Scores

if TYPE_CHECKING:
    from datasets import Dataset


class Annotator(Component):
    """kind ``annotator``: computes columns of a data set with an encoder or a scorer."""

    kind: ClassVar[str] = "annotator"

    @abstractmethod
    def reads(self) -> Columns:
        """Columns that the data must have."""

    @abstractmethod
    def adds(self) -> Columns:
        """Columns that it computes."""

    @abstractmethod
    def annotate(self, rows: Dataset, teacher: Embeds | Scores, ctx: Context) -> dict[str, list[Any]]:
        """Column → one value a row, in the order of the rows.

        Raises:
            DataError: a row that it cannot compute anything for.
            ModelError: the teacher is of the wrong sort (a scorer makes no vectors).
        """
