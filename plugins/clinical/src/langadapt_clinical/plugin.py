"""What this plugin brings, as strings: nothing is imported until a recipe names it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from langadapt.contracts import ComponentRef, hookimpl


@hookimpl
def langadapt_components() -> Iterable[ComponentRef]:
    return [
        ComponentRef("normalizer", "clinical", "langadapt_clinical.normalizer:Clinical", "placeholders of de-identification, units"),
        ComponentRef("corpus", "notes", "langadapt_clinical.notes:Notes", "clinical notes by note, section or sentence"),
        ComponentRef("selector", "leak-check", "langadapt_clinical.leaks:LeakCheck", "refuse text that looks like people's identifiers"),
    ]


@hookimpl
def langadapt_data_dirs() -> Iterable[Path]:
    return [Path(__file__).resolve().parent]
