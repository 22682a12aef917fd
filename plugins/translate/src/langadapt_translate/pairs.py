"""NLI and STS pairs translated into a language, every row with where it came from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from langadapt.contracts import Columns, Context, TranslatedPairReader, Translation, Translator
from langadapt.contracts.reading import NLI_COLUMNS, STS_COLUMNS, nli_rows, sts_rows
from langadapt.errors import DataError
from langadapt_translate.memory import remembered

CHECKS = ("label-checks", "copied-source", "length-ratio", "unknown-words")
"""Selectors of every translated stage, before the one that tells languages apart."""


class _Translated(TranslatedPairReader):
    """Reads pairs, translates each distinct sentence once, and adds the columns of its provenance.

    Columns added: ``source_…`` (the sentence it was translated from, one a text column), ``engine``, ``licence`` (the source data's),
    ``engine_licence``, ``quality`` (the lower of the engine's two scores, or null) and ``unknown`` (words the engine did not know, or
    null).  What was translated once is in the translation memory and is not translated again, whatever build asks for it.
    """

    texts: ClassVar[tuple[str, str]]

    @classmethod
    def checks(cls, source: str, target: str) -> list[Any]:
        return [*CHECKS, {"use": "language-id", "source": source, "target": target}]

    def rows(self, ctx: Context) -> Iterator[dict[str, Any]]:
        """The pairs as they are, in the source language."""
        raise NotImplementedError

    def pairs(self, translator: Translator | None, ctx: Context) -> Iterator[dict[str, Any]]:
        if translator is None:
            raise DataError(
                f"the pairs are in '{self.source_language}' and no translator is named",
                hint=f"Name one with --translator NAME; 'langadapt translators --from {self.source_language} --to {self.target_language}' "
                "lists what can serve the pair here.",
            )
        rows = list(self.rows(ctx))
        sentences = list(dict.fromkeys(row[name] for row in rows for name in self.texts))
        offer = translator.offer(self.source_language, self.target_language)
        said = self.translated(translator, sentences, ctx)
        for row in rows:
            found = [said[row[name]] for name in self.texts]
            scores = [one.score for one in found if one.score is not None]
            unknown = [one.unknown for one in found if one.unknown is not None]
            yield {
                **row,
                **{name: one.text for name, one in zip(self.texts, found, strict=True)},
                **{f"source_{name}": row[name] for name in self.texts},
                "engine": offer.name,
                "licence": self.data.licence,
                "engine_licence": offer.licence,
                "quality": min(scores) if scores else None,
                "unknown": sum(unknown) if unknown else None,
            }

    def share(self, translator: Translator, ctx: Context, rank: int, world: int) -> None:
        """Translate this process's share of the sentences into the memory.

        Every `world`-th sentence; or every `world`-th block, of an engine that reads a sentence beside others (Apertium's tagger does):
        the blocks are then those of a process alone, and so are the answers.
        """
        rows = self.rows(ctx)
        sentences = list(dict.fromkeys(row[name] for row in rows for name in self.texts))
        size = translator.beside()
        if size is None:
            self.translated(translator, sentences[rank::world], ctx)
            return
        for start in range(rank * size, len(sentences), world * size):
            self.translated(translator, sentences[start : start + size], ctx)

    def translated(self, translator: Translator, sentences: list[str], ctx: Context) -> dict[str, Translation]:
        """Sentence → translation, from the memory or the engine."""
        return remembered(translator, sentences, self.source_language, self.target_language, ctx)


class TranslatedNli(_Translated):
    """NLI pairs of another language, translated; labels stay.

    Joshi et al. 2022 (arXiv:2211.11187) build MahaSBERT and HindSBERT this way.  Each distinct sentence is translated once; each row
    keeps its source sentences, engine, licences and the engine's score.
    """

    name: ClassVar[str] = "translated-nli"
    version: ClassVar[str] = "1"
    columns: ClassVar[Columns] = NLI_COLUMNS
    texts: ClassVar[tuple[str, str]] = ("premise", "hypothesis")

    def rows(self, ctx: Context) -> Iterator[dict[str, Any]]:
        return nli_rows(self.data, ctx)


class TranslatedSts(_Translated):
    """STS pairs of another language, translated; scores stay.  As ``translated-nli`` otherwise."""

    name: ClassVar[str] = "translated-sts"
    version: ClassVar[str] = "1"
    columns: ClassVar[Columns] = STS_COLUMNS
    texts: ClassVar[tuple[str, str]] = ("sentence1", "sentence2")

    def rows(self, ctx: Context) -> Iterator[dict[str, Any]]:
        return sts_rows(self.data, ctx)
