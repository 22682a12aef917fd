"""The head of a recipe; each of its stages is validated by its verb (:mod:`langadapt.verbs`)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from langadapt.manifests.language import NAME, ResourceName


class RecipeManifest(BaseModel):
    """What a recipe says of itself, and its stages as they are written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str = Field(pattern=NAME, max_length=80)
    summary: str
    paper: str = ""
    note: str = ""
    stages: dict[ResourceName, dict[str, Any]] = Field(min_length=1)
