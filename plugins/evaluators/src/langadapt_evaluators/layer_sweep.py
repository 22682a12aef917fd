"""Any evaluator, layer by layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar

from langadapt.contracts import Context, Embeds, Evaluator, Resource, Score, Use


class LayerSweep(Evaluator):
    """The first figure of another evaluator on the mean of each layer's states, the embeddings first (layer 0).

    The best layer of an encoder that was not trained for sentences is rarely its last (Hosseini, Munia & Khan 2023,
    2023.findings-emnlp.1030, who also combine layers).  Choose it on a dev set: pooler ``layer-mean`` then reads it.
    """

    name: ClassVar[str] = "layer-sweep"

    evaluator: Annotated[Any, Use("evaluator")]
    """What is measured: ``{use: sts, data: …}``."""

    @property
    def test_data(self) -> Resource | None:
        found: Resource | None = self.evaluator.test_data
        return found

    def shared_resource(self) -> Resource | None:
        found: Resource | None = self.evaluator.shared_resource()
        return found

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        found = []
        for layer in range(encoder.layers + 1):
            ctx.log.info(f"layer {layer} of {encoder.layers}")
            first = self.evaluator.evaluate(encoder.at_layer(layer), ctx)[0]
            found.append(replace(first, task=f"{first.task} layer {layer}"))
        return found
