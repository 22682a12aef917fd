"""Scores, what measures them, and what writes a release."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from langadapt.contracts.component import Component, Context
from langadapt.contracts.encoder import EncoderSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from langadapt.manifests.resource import Resource


@dataclass(frozen=True)
class Score:
    """One figure of one task with its 95 % interval.  `value`, `low`, `high` are in `unit`; n counts items."""

    task: str
    metric: str
    value: float
    low: float | None
    high: float | None
    n: int
    unit: str = "×100"
    higher_is_better: bool = True
    resampled: Any = field(default=None, compare=False, repr=False)
    """(samples,) the value on bootstrap samples of the items, the same samples for every encoder; for paired differences."""
    items: Any = field(default=None, compare=False, repr=False)
    """(n,) what each item adds, in `unit`, where `value` is their mean; None for measures that are no mean (a correlation, an F1)."""
    drawing: dict[str, Any] | None = field(default=None, compare=False, repr=False)
    """What a report draws of it, as plain data: ``{"scatter": {x, y, x_label, y_label}}`` with a list a side,
    ``{"confusion": {labels, counts}}`` with rows of what is right and columns of what was said, ``{"classes": {x, y, labels}}`` with a
    list each of points in the plane and what they are."""


class Evaluator(Component):
    """kind ``evaluator``: an encoder in, scores with intervals out."""

    kind: ClassVar[str] = "evaluator"
    subjects: ClassVar[frozenset[str]] = frozenset({"Encoder"})
    """What it can score: ``Encoder``, ``Scorer``."""
    needs_mlm_head: ClassVar[bool] = False
    """True when it asks :meth:`~langadapt.contracts.Embeds.masked_log_probabilities`."""

    @property
    def test_data(self) -> Resource | None:
        """The resource that scores are measured on: tables say how its texts were made, and builds whether training saw them."""
        return None

    def without(self, rows: frozenset[int]) -> Evaluator | None:
        """The same test without some rows of `test_data`; None where that would split or search anew, and be another test.

        Args:
            rows: what :meth:`Resource.without <langadapt.manifests.resource.Resource.without>` takes.
        """
        return None

    def test_rows(self, ctx: Context) -> Sequence[tuple[str, ...]] | None:
        """The texts of each row that scores are measured on, where they are a part of `test_data`; None where they are all of it."""
        return None

    @abstractmethod
    def evaluate(self, encoder: Any, ctx: Context) -> list[Score]:
        """Deterministic for one encoder and seed.

        Args:
            encoder: an :class:`~langadapt.contracts.Embeds`, or a :class:`~langadapt.contracts.Scores` where `subjects` names one.
        """


@dataclass(frozen=True)
class Written:
    """What an exporter wrote where it is another encoder than the one it was given."""

    settings: EncoderSettings
    parameters: int
    width: int
    """d of its vectors."""


class Exporter(Component):
    """kind ``exporter``: writes one loadable form of an encoder into the release."""

    kind: ClassVar[str] = "exporter"
    subject: ClassVar[str] = "Encoder"
    """What it writes: ``Encoder`` or ``Scorer``."""
    adapter_only: ClassVar[bool] = False
    """True for one that writes a trained adapter without its base (:meth:`export_adapter`)."""

    needs_texts: ClassVar[bool] = False
    """True for one that reads texts of the language (the stage's `data`)."""
    makes_another: ClassVar[bool] = False
    """True for one that writes an encoder of another form, and so must be the only one of its stage."""

    @abstractmethod
    def export(
        self,
        encoder: Any,
        tokenizer: PreTrainedTokenizerFast,
        settings: EncoderSettings,
        folder: Path,
        texts: Iterable[str] | None = None,
    ) -> Written | None:
        """Write files into `folder`; must not write README.md, scores.json or provenance.json.

        Args:
            encoder: an :class:`langadapt.contracts.checkpoints.EncoderModule`.
            texts: of the stage's `data`, in order; there where it `needs_texts`.
        """

    def export_adapter(self, source: Path, folder: Path) -> None:
        """Write the adapter in `source` into `folder`."""
        raise NotImplementedError(f"'{self.name}' writes no adapters")
