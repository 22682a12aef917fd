"""What a domain's words mean, by its own text: acronyms with their expansions, terms with their definitions."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from langadapt.contracts import Columns, Context, PairReader, Resource, Role
from langadapt.errors import DataError
from langadapt_data.acronyms import acronyms
from langadapt_data.corpora import ResourceText

# \w would not hold the vowel signs of Indic scripts, so a term is told by what it does not hold.
DEFINED = re.compile(r"^([^\W\d_][^:.,;!?|=\"{}<>\[\]।॥。，、；！？؟،؛：]{1,59}?)(?:: |： ?| is defined as | refers to )(\S.{19,600})$")
LABELS = re.compile(
    r"(tables?|figures?|steps?|notes?|examples?|options?|cases?|annex|clauses?|inputs?|outputs?|the following|this|that|these|it|he|she|we)"
    r"\b",
    re.IGNORECASE,
)
VISARGA = re.compile("(?:[तशय]|पुन|नम|दु|नि)$")
"""Ends a word whose colon is likely a visarga: स्वत: is typed for स्वतः."""
UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u4e00-\u9fff]{13}")
"""More of a script without spaces than a term has."""
ARTICLE = re.compile(r"^(?:An?|The) ")
WORDS = 6


class Glossary(PairReader):
    """(acronym, expansion) and (term, definition) as anchor and positive, harvested from running text.

    - ``acronyms``: "Access Point Name (APN)", and lines of a list of abbreviations (Schwartz & Hearst 2003).  An acronym keeps the
      expansion found most often; one with several as frequent ones is left out.
    - ``definitions``: lines of a glossary, "Term: what it is", and "Term is defined as …" or "refers to …" in English.  What heads
      several different lines ("Description: …") is a label, not a term, and is left out.
    """

    name: ClassVar[str] = "glossary"
    version: ClassVar[str] = "1"
    columns: ClassVar[Columns] = {"anchor": Role.TEXT, "positive": Role.TEXT}

    data: Resource
    of: Annotated[list[Literal["acronyms", "definitions"]], Field(min_length=1)] = ["acronyms", "definitions"]
    least: Annotated[int, Field(ge=1)] = 1
    """Finds that an expansion needs."""

    def pairs(self, translator: Any, ctx: Context) -> Iterator[dict[str, Any]]:
        texts = [document.text for document in ResourceText(data=self.data).documents(ctx)]
        count = 0
        for what in self.of:
            found = acronyms(texts) if what == "acronyms" else definitions(texts)
            clear = dict(_clear(found, self.least if what == "acronyms" else 1))
            ctx.log.info(f"{len(clear):,} {what} of {len(found):,} with one clear meaning")
            count += len(clear)
            yield from ({"anchor": term, "positive": meaning} for term, meaning in clear.items())
        if count < 2:
            raise DataError(
                f"{count} {' or '.join(self.of)} found",
                where=self.data.name,
                hint="Such text is needed: 'Access Point Name (APN)', or a line 'Network slice: a logical network that …'.",
            )


def definitions(texts: Iterable[str]) -> dict[str, Counter[str]]:
    """Term → definitions with their counts; a label of many lines has many."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for text in texts:
        match = DEFINED.match(text.strip())
        if match and _is_term(match[1]):
            found[ARTICLE.sub("", match[1].strip())][match[2]] += 1
    return dict(found)


def _is_term(text: str) -> bool:
    """Few words that are no label; a run without spaces (Chinese, Thai) is a term only if it is short."""
    if any(pattern.search(text) for pattern in (VISARGA, UNSPACED)) or LABELS.match(text):
        return False
    return len(text.split()) <= WORDS and text.count("(") == text.count(")")


def _clear(found: dict[str, Counter[str]], least: int) -> Iterator[tuple[str, str]]:
    for term, meanings in sorted(found.items()):
        (first, often), *rest = meanings.most_common(2)
        if often >= least and (not rest or rest[0][1] < often):
            yield term, first
