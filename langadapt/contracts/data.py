"""Texts, pairs and translations: what is read, cleaned and chosen before anything trains."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from langadapt.contracts.component import Component, Context
from langadapt.manifests.resource import Resource

if TYPE_CHECKING:
    from datasets import Dataset

    from langadapt.contracts.encoder import Embeds


class Role(Enum):
    """What the values of a column are.  A text becomes token ids before training; the rest reaches an objective as it is."""

    TEXT = "text"
    """A string, or null where a row may lack it."""
    TEXTS = "texts"
    """A list of strings, of any length."""
    NUMBER = "number"
    NUMBERS = "numbers"
    """A list of floats: a vector, or a score for each of a row's texts."""
    LABEL = "label"
    """A string or a small integer."""


Columns = Mapping[str, Role]


@dataclass(frozen=True)
class Document:
    """One unit of running text and where it came from (``file:line``)."""

    text: str
    origin: str = ""


@dataclass(frozen=True)
class Translation:
    """One translated sentence, the engine's own score (higher is better) and its count of unknown words, if it has them."""

    text: str
    score: float | None = None
    unknown: int | None = None


@dataclass(frozen=True)
class Offer:
    """What a translator can do for one pair of languages on this machine."""

    name: str
    """The engine or model that would serve the pair, for people: ``apertium en-gl``."""
    ready: bool
    needs: str = ""
    """What to install or give first; empty when it is ready."""
    licence: str = "not stated"
    """Of the engine or its weights, as published."""
    binding: bool = True
    """False where the licence covers the program alone and says nothing of what it translates."""
    fingerprint: str = ""
    """Identity of the engine's data (model bytes, compiled dictionaries): the same one gives the same translations."""


class CorpusReader(Component):
    """kind ``corpus``: running text."""

    kind: ClassVar[str] = "corpus"

    @abstractmethod
    def documents(self, ctx: Context) -> Iterator[Document]:
        """Yield documents in a fixed order.  Raises DataError naming file and line on bad input."""


class Normalizer(Component):
    """kind ``normalizer``: one spelling for one text, in training and at inference alike."""

    kind: ClassVar[str] = "normalizer"

    @abstractmethod
    def normalize(self, text: str) -> str:
        """Pure and idempotent."""

    def fast(self) -> Any | None:
        """The same rules as a ``tokenizers`` normalizer to bake into the release, or None if inexpressible."""
        return None


class Translator(Component):
    """kind ``translator``: a machine-translation engine.  Language codes are BCP 47."""

    kind: ClassVar[str] = "translator"

    @abstractmethod
    def offer(self, source: str, target: str) -> Offer:
        """Whether and how it serves a pair here; cheap, loads no model.  Raises nothing for a pair it cannot serve."""

    def beside(self) -> int | None:
        """Sentences that the engine reads beside one another, where one's translation may depend on them; None where each is alone."""
        return None

    @abstractmethod
    def translate(self, texts: list[str], source: str, target: str, ctx: Context) -> Iterator[tuple[int, Translation]]:
        """(place in `texts`, translation), each as soon as it is known, in the engine's own order, every place once.

        Raises:
            DataError: the engine is absent, died, hung, or did not answer for every text.
        """


class Generator(Component):
    """kind ``generator``: a language model, or ready answers, that texts are made with."""

    kind: ClassVar[str] = "generator"

    @abstractmethod
    def fingerprint(self) -> str:
        """Identity of what answers: the same one is not asked the same twice."""

    @abstractmethod
    def generate(self, prompts: list[str], ctx: Context) -> Iterator[tuple[int, str]]:
        """(place in `prompts`, answer), each as soon as it is known, every place once.

        Raises:
            DataError: what answers is absent, refuses, or has no answer.
        """


class PairReader(Component):
    """kind ``pairs``: rows of texts with labels, scores or relevance."""

    kind: ClassVar[str] = "pairs"
    columns: ClassVar[Columns]
    """Columns of the rows it yields.  It may yield others, of where a row came from, which no objective reads."""
    in_translation: ClassVar[str] = ""
    """Name of the reader, a :class:`TranslatedPairReader`, that makes the same rows of another language's data; empty without one."""

    @abstractmethod
    def pairs(self, translator: Translator | None, ctx: Context) -> Iterator[dict[str, Any]]:
        """Yield rows in a fixed order."""


class TranslatedPairReader(PairReader):
    """A reader of another language's pairs, which a translator turns into the target's."""

    data: Resource
    source_language: str = "en"
    """BCP 47 code of the data."""
    target_language: str
    """BCP 47 code to translate into."""

    @classmethod
    def checks(cls, source: str, target: str) -> list[Any]:
        """Selectors, as slots, that rows go through unless the user names others; `source` and `target` are BCP 47 codes."""
        return []

    @abstractmethod
    def share(self, translator: Translator, ctx: Context, rank: int, world: int) -> None:
        """Translate this process's share of the sentences into a memory that all processes read."""


class Selector(Component):
    """kind ``selector``: drops or reorders rows."""

    kind: ClassVar[str] = "selector"
    drops_repeats: ClassVar[bool] = False
    """True when what it drops repeats what it keeps: a corpus that is mostly repeats is worth a warning."""

    @abstractmethod
    def select(self, rows: Dataset, encoder: Embeds | None, ctx: Context) -> Dataset:
        """Rows kept.  Says through ``ctx.log`` how many it dropped and why."""


class Source(Component):
    """kind ``source``: a resource carried by a package (a converted checkpoint, generated pairs)."""

    kind: ClassVar[str] = "source"

    @abstractmethod
    def fingerprint(self) -> str:
        """Content identity, known without producing the content; part of cache keys."""

    @abstractmethod
    def fetch(self, folder: Path) -> None:
        """Write the resource's files into an empty folder."""
