"""Selectors of translated pairs: what a look at two strings can tell.  Each says how many rows it dropped and why."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import langcodes
import numpy as np
import regex
from pydantic import Field

from langadapt.contracts import Context, Selector
from langadapt.contracts.reading import TEXTS
from langadapt.contracts.text import script_class
from langadapt.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

Why = str | None


def sides(rows: Dataset, name: str) -> list[tuple[str, str]]:
    """(column of the translation, column of its source) of every text.

    Raises:
        DataError: the rows were not translated.
    """
    found = [(column, f"source_{column}") for column in TEXTS if f"source_{column}" in rows.column_names]
    if not found:
        raise DataError(f"the selector '{name}' looks at translations, and these rows have none", hint="Use it on translated pairs.")
    return found


def keep(rows: Dataset, verdicts: list[Why], name: str, ctx: Context) -> Dataset:
    """The rows without a reason to go; the reasons are counted in the log."""
    counts = Counter(why for why in verdicts if why)
    told = ", ".join(f"{count:,} {why}" for why, count in counts.most_common())
    ctx.log.info(f"{name}: {sum(counts.values()):,} of {len(rows):,} dropped{': ' + told if told else ''}")
    return rows.select([i for i, why in enumerate(verdicts) if why is None])


class LabelChecks(Selector):
    """Drop rows whose label cannot have survived translation.

    - a text came back empty;
    - premise and hypothesis (or both sentences) became the same text though their sources differed, and the label is not entailment
      (or the score is below `same_score`);
    - the pair now stands with two different labels (or scores further apart than `score_gap`);
    - the two translations are exchanged: each shares words with the other's source and none with its own.
    """

    name: ClassVar[str] = "label-checks"

    same_score: Annotated[float, Field(ge=0, le=1)] = 0.8
    score_gap: Annotated[float, Field(ge=0, le=1)] = 0.3

    def select(self, rows: Dataset, encoder: Any, ctx: Context) -> Dataset:
        (a, source_a), (b, source_b) = sides(rows, self.name)[:2]
        marks: dict[tuple[str, str], list[Any]] = defaultdict(list)
        table = rows.to_list()
        for row in table:
            marks[_folded(row[a]), _folded(row[b])].append(row.get("label", row.get("score")))
        return keep(rows, [self._why(row, a, b, source_a, source_b, marks) for row in table], self.name, ctx)

    def _why(self, row: dict[str, Any], a: str, b: str, source_a: str, source_b: str, marks: dict[tuple[str, str], list[Any]]) -> Why:
        left, right = _folded(row[a]), _folded(row[b])
        if not left or not right:
            return "empty"
        if left == right and _folded(row[source_a]) != _folded(row[source_b]) and not self._alike(row):
            return "became the same text"
        if self._differ(marks[left, right]):
            return "with two labels"
        own = _words(row[source_a]) & _words(left) | _words(row[source_b]) & _words(right)
        crossed = len(_words(row[source_a]) & _words(right)) + len(_words(row[source_b]) & _words(left))
        return "exchanged" if not own and crossed >= 2 else None

    def _alike(self, row: dict[str, Any]) -> bool:
        return bool(row["label"] == "entailment") if "label" in row else bool(row["score"] >= self.same_score)

    def _differ(self, found: list[Any]) -> bool:
        if isinstance(found[0], str):
            return len(set(found)) > 1
        return bool(max(found) - min(found) > self.score_gap)


class LengthRatio(Selector):
    """Drop rows with a translation much longer or shorter than its source, measured against the data's own median ratio.

    Gale & Church 1993 for the idea.  Characters are compared; `slack` of them may always differ.
    """

    name: ClassVar[str] = "length-ratio"

    low: Annotated[float, Field(gt=0, lt=1)] = 0.5
    high: Annotated[float, Field(gt=1)] = 2.0
    """Bounds of a translation's length over what the median ratio foretells."""
    slack: Annotated[int, Field(ge=0)] = 10

    def select(self, rows: Dataset, encoder: Any, ctx: Context) -> Dataset:
        bad = np.zeros(len(rows), dtype=bool)
        for column, source in sides(rows, self.name):
            there = np.array([len(text) for text in rows[column]], dtype=np.float64)
            here = np.array([len(text) for text in rows[source]], dtype=np.float64)
            told = here * np.median(there / np.maximum(here, 1))
            bad |= (there < self.low * told - self.slack) | (there > self.high * told + self.slack)
        return keep(rows, ["of another length" if one else None for one in bad], self.name, ctx)


class LanguageId(Selector):
    """Drop rows whose translation is not written in the target's script, or reads more like the source's language.

    Lui & Baldwin 2012 (langid), asked to choose between the two languages alone: short sentences of close relatives defeat a free
    choice among a hundred.  A language that the model does not know is checked by its script only, which is said.
    """

    name: ClassVar[str] = "language-id"

    target: str
    """BCP 47 code of the translations."""
    source: str = "en"
    share: Annotated[float, Field(ge=0, le=1)] = 0.7
    """Of the letters that must be in the target's script."""
    letters: Annotated[int, Field(ge=0)] = 20
    """Shorter texts are checked by their script only."""

    def select(self, rows: Dataset, encoder: Any, ctx: Context) -> Dataset:
        model = self._model(ctx)
        script = langcodes.Language.get(self.target).maximize().script
        if script is None:
            raise DataError(f"which script '{self.target}' is written in is not known", hint="Give the code with it: xyz-Latn.")
        wanted, letter = regex.compile(f"[{script_class([script])}]"), regex.compile(r"[\p{L}\p{M}]")
        verdicts: list[Why] = [None] * len(rows)
        known: dict[str, Why] = {}
        for column, _ in sides(rows, self.name):
            for i, text in enumerate(rows[column]):
                if text not in known:
                    known[text] = self._why(text, wanted, letter, model)
                verdicts[i] = verdicts[i] or known[text]
        return keep(rows, verdicts, self.name, ctx)

    def _why(self, text: str, wanted: Any, letter: Any, model: Any) -> Why:
        letters = len(letter.findall(text))
        if letters and len(wanted.findall(text)) < self.share * letters:
            return "in another script"
        if model is None or letters < self.letters:
            return None
        return f"reads like '{self.source}'" if model.classify(text)[0] == self.source else None

    def _model(self, ctx: Context) -> Any:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        model = LanguageIdentifier.from_model_file(MODEL_FILE)
        missing = [code for code in (self.source, self.target) if code not in model.labels]
        if missing:
            ctx.log.warning(f"language identification knows no {', '.join(missing)}: scripts are checked alone")
            return None
        model.set_languages([self.source, self.target])
        return model


class CopiedSource(Selector):
    """Drop rows whose translation is its source, or shares most of its words with it."""

    name: ClassVar[str] = "copied-source"

    share: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Of a source's words found again from which it counts as copied."""
    words: Annotated[int, Field(ge=1)] = 4
    """Shorter sources may come back unchanged: names and loans do."""

    def select(self, rows: Dataset, encoder: Any, ctx: Context) -> Dataset:
        verdicts: list[Why] = [None] * len(rows)
        for column, source in sides(rows, self.name):
            for i, (there, here) in enumerate(zip(rows[column], rows[source], strict=True)):
                words = _words(here)
                if len(words) >= self.words and len(words & _words(there)) >= self.share * len(words):
                    verdicts[i] = "left in the source language"
        return keep(rows, verdicts, self.name, ctx)


class UnknownWords(Selector):
    """Drop rows of which the engine did not know more than `share` of the words; engines that do not say drop none."""

    name: ClassVar[str] = "unknown-words"

    share: Annotated[float, Field(ge=0, le=1)] = 0.15

    def select(self, rows: Dataset, encoder: Any, ctx: Context) -> Dataset:
        columns = [column for column, _ in sides(rows, self.name)]
        words = np.zeros(len(rows))
        for column in columns:
            words += np.array([len(text.split()) for text in rows[column]])
        unknown = np.array([count or 0 for count in rows["unknown"]])
        return keep(rows, ["with unknown words" if one else None for one in unknown > self.share * words], self.name, ctx)


def _folded(text: str) -> str:
    """What is compared: case, white space and final punctuation do not count."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split()).rstrip(".!?।。 ")


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))
