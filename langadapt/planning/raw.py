"""Stages as they are written, before any type is checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from langadapt.manifests import yaml


@dataclass
class RawStage:
    """One stage as written: its data, and where each of its keys stands."""

    name: str
    data: dict[str, Any]
    document: yaml.Document
    path: yaml.KeyPath
    recipe: str
    papers: list[str] = field(default_factory=list)

    def where(self, *keys: str | int) -> str:
        return self.document.where((*self.path, *keys))
