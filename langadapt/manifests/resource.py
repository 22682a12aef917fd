"""A resource: one data set or checkpoint, with its licence and the places it can come from."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

SourceName = Literal["starter", "hub", "path"]

Made = Literal["", "generated", "translated"]
"""How the texts came to be: written by people as far as is known, by a program, or by machine translation."""

NLI_LABELS = ("entailment", "neutral", "contradiction")

Format = Literal[
    "encoder", "text", "nli", "paraphrase", "sts", "retrieval", "vectors", "dictionary", "parallel", "classification", "tags", "treebank"
]  # fmt: skip


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HubSource(_Strict):
    """A repository on the Hugging Face Hub, pinned to a commit when the plan is compiled."""

    id: str
    revision: str = "main"
    files: list[str] = []
    """Data files inside a dataset repository (glob patterns); a checkpoint needs none."""
    licence: str | None = None
    origin: str | None = None
    note: str | None = None
    labels: dict[str, str] | None = None
    score_range: tuple[float, float] | None = None
    made: Made | None = None
    """What differs from the resource's own statement when it comes from here."""


class PathSource(_Strict):
    """Files or a checkpoint folder on this machine."""

    paths: list[str]


class Sources(_Strict):
    """Where a resource can come from; at least one place."""

    starter: dict[str, Any] | None = None
    """A `source` component (``{use: NAME, …options}``) that a plugin carries inside its package."""
    hub: HubSource | None = None
    path: PathSource | None = None

    @model_validator(mode="after")
    def _one_at_least(self) -> Sources:
        if not (self.starter or self.hub or self.path):
            raise ValueError("name at least one of starter, hub, path")
        return self

    def names(self) -> list[SourceName]:
        """The places this resource can come from, in order of default preference."""
        order: list[SourceName] = ["path", "starter", "hub"]
        return [name for name in order if getattr(self, name) is not None]


class Resource(_Strict):
    """One data set or checkpoint of a language or domain, as its manifest states it.

    `columns` maps our column names to the file's (``premise: sentence_A``), `labels` the file's labels to
    ours (``"0": entailment``), `score_range` is the range that similarity scores are published in.
    """

    name: str
    format: Format
    sources: Sources
    licence: str = "not stated"
    origin: str = ""
    note: str = ""
    columns: dict[str, str] = {}
    labels: dict[str, str] = {}
    incomplete: Literal["refuse", "drop"] = "refuse"
    """Whether rows with an empty or null cell stop the build or are left out and counted."""
    score_range: tuple[float, float] = (0.0, 5.0)
    made: Made = ""
    """Tables and cards say it; training on ``generated`` texts is blended with the encoder it began with (`interpolate`), and scores on
    them are no evidence for real text."""
    prompt: str = ""
    """Text an encoder expects before every sentence (e5's ``query: ``)."""

    @field_validator("score_range")
    @classmethod
    def _rises(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not value[0] < value[1]:
            raise ValueError("the first number must be below the second")
        return value

    @model_validator(mode="after")
    def _labels_are_ours(self) -> Resource:
        if self.format in ("nli", "paraphrase"):
            strange = next((label for label in self.labels.values() if label not in (*NLI_LABELS, "drop")), None)
            if strange is not None:
                raise ValueError(f"'{strange}' is no label; known: {', '.join(NLI_LABELS)}, drop")
        return self

    asked: str = Field(default="", exclude=True)
    """By what a user sets this resource's options: ``lang.resources`` or ``domain.resources`` of ``--set``, or ``evaluate``."""

    def option(self, name: str, value: str) -> str:
        """An option of this resource as the command at hand writes it, for hints.

        Args:
            name: ``columns``, ``labels``, ``score_range`` or ``incomplete``.
            value: as a manifest writes it.
        """
        if self.asked == "evaluate":
            flags = {"columns": "--column", "labels": "--label", "score_range": "--score-range", "incomplete": "--drop-incomplete"}
            plain = value.strip("{}[]").replace(": ", "=").replace('"', "")
            if name == "incomplete":
                return flags[name]
            parts = [plain.replace(",", "")] if name == "score_range" else plain.split(", ")
            return " ".join(f"{flags[name]} {part}" for part in parts)
        return f"--set {self.asked or 'lang.resources'}.{self.name}.{name}='{value}'"

    leave_out: frozenset[int] = Field(default=frozenset(), exclude=True)
    """Rows that are not read, by :func:`langadapt.data.seen.row_key`: a test is scored without what training saw."""

    @field_validator("leave_out")
    @classmethod
    def _is_no_option(cls, value: frozenset[int]) -> frozenset[int]:
        if value:
            raise ValueError("is what an evaluation sets, and no option of a manifest")
        return value

    def without(self, rows: frozenset[int]) -> Resource:
        """This resource less some rows, by :func:`langadapt.data.seen.row_key`."""
        return self.model_copy(update={"leave_out": rows})

    pinned: Any = Field(default=None, exclude=True)
    """The chosen source (:class:`langadapt.registry.sources.Pinned`), set when a plan is compiled."""

    def from_hub(self) -> Resource:
        """This resource with what its Hub source states differently."""
        assert self.sources.hub is not None
        stated = self.sources.hub.model_dump(include={"licence", "origin", "note", "labels", "score_range", "made"}, exclude_none=True)
        return self.model_copy(update={"note": "", "origin": self.sources.hub.id, **stated})

    def identity(self) -> dict[str, Any]:
        """What of a resource can change a result: the pinned content and how it is read."""
        if self.pinned is None:
            raise ValueError(f"resource '{self.name}' is not pinned")
        read = self.model_dump(mode="json", include={"format", "columns", "labels", "prompt"})
        if self.format == "sts":
            read["score_range"] = list(self.score_range)
        if self.made:
            read["made"] = self.made
        if self.incomplete != "refuse":
            read["incomplete"] = self.incomplete
        return {"source": self.pinned.identity, **read}
