"""What this plugin brings, as strings: nothing is imported until a recipe names it."""

from __future__ import annotations

from collections.abc import Iterable

from langadapt.contracts import ComponentRef, hookimpl


@hookimpl
def langadapt_components() -> Iterable[ComponentRef]:
    return [
        ComponentRef("exporter", "transformers", "langadapt_exporters.checkpoint:Transformers", "a plain transformers checkpoint"),
        ComponentRef(
            "exporter",
            "sentence-transformers",
            "langadapt_exporters.checkpoint:SentenceTransformers",
            "a sentence-transformers folder",
            default=True,
        ),
        ComponentRef("exporter", "static", "langadapt_exporters.static:Static", "a table of token vectors in place of the network"),
        ComponentRef(
            "exporter", "cross-encoder", "langadapt_exporters.cross_encoder:CrossEncoder", "a scorer of pairs, for sentence-transformers"
        ),
        ComponentRef("exporter", "adapter", "langadapt_exporters.adapter:Adapter", "a trained adapter alone, without its base"),
    ]
