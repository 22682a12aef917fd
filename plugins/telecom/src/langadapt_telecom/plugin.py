"""What this plugin brings, as strings: nothing is imported until a recipe names it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from langadapt.contracts import ComponentRef, hookimpl


@hookimpl
def langadapt_components() -> Iterable[ComponentRef]:
    return [ComponentRef("corpus", "standards", "langadapt_telecom.standards:Standards", "running text of 3GPP- and RFC-like documents")]


@hookimpl
def langadapt_data_dirs() -> Iterable[Path]:
    return [Path(__file__).resolve().parent]
