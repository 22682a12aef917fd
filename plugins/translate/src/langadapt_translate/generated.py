"""Questions that a language model makes for passages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from langadapt.contracts import Columns, Context, PairReader, Resource, Role, Translation, Translator, Use
from langadapt.contracts.reading import fetch, tables
from langadapt.errors import DataError
from langadapt_translate.memory import Memory


class GeneratedPairs(PairReader):
    """A question for each text of a resource, as anchor and positive: training data for retrieval where nobody asked anything yet.

    InPars (Bonifacio et al. 2022, arXiv:2202.05144) and its kin prompt a model so, with a few examples in the prompt, and filter by a
    reranker; here the prompt is yours, and selectors filter.  What was asked once is kept and not asked again.
    """

    name: ClassVar[str] = "generated"
    columns: ClassVar[Columns] = {"anchor": Role.TEXT, "positive": Role.TEXT}

    data: Resource
    generator: Annotated[Any, Use("generator")]
    """``{use: openai-compatible, url: …, model: …}``, or ``{use: file, data: …}``."""
    prompt: str = "Write one question, in the language of the text, that this text answers. Answer with the question alone.\n\n{text}"
    """With ``{text}`` where the text goes."""
    limit: Annotated[int, Field(ge=1)] = 10_000
    """Texts that are asked about, the first ones."""

    def pairs(self, translator: Translator | None, ctx: Context) -> Iterator[dict[str, Any]]:
        if "{text}" not in self.prompt:
            raise DataError("the prompt has no {text} in it, so every text would be asked the same", where="prompt")
        lines = (text.strip() for path in fetch(self.data, ctx) for _, text in tables.lines(path))
        texts = list(dict.fromkeys(text for text in lines if text))[: self.limit]
        answers = self._answers(texts, ctx)
        for text in texts:
            if answers[text]:
                yield {"anchor": answers[text], "positive": text}

    def _answers(self, texts: list[str], ctx: Context) -> dict[str, str]:
        """Text → the model's answer, stripped; from the memory or the generator."""
        mark = hashlib.sha256(self.prompt.encode()).hexdigest()[:12]
        memory = Memory(ctx.cache, self.generator.name, self.generator.fingerprint(), "prompt", mark)
        try:
            known = {text: said.text for text, said in memory.find(texts).items()}
            asked = [text for text in texts if text not in known]
            prompts = [self.prompt.replace("{text}", text) for text in asked]
            for place, answer in ctx.log.track(self.generator.generate(prompts, ctx), "asking", len(prompts)):
                known[asked[place]] = " ".join(answer.split())
                memory.add([(asked[place], Translation(known[asked[place]]))])
        finally:
            memory.close()
        return known
