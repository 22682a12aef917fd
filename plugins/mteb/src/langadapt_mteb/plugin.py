"""What this plugin brings, as strings: nothing is imported until a recipe names it."""

from __future__ import annotations

from collections.abc import Iterable

from langadapt.contracts import ComponentRef, hookimpl


@hookimpl
def langadapt_components() -> Iterable[ComponentRef]:
    return [ComponentRef("evaluator", "mteb", "langadapt_mteb.evaluator:Mteb", "tasks of MTEB, from the Hub or made of local files")]
