"""Where this plugin keeps its domain manifest."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from langadapt import hookimpl


@hookimpl
def langadapt_data_dirs() -> Iterable[Path]:
    return [Path(__file__).resolve().parent]
