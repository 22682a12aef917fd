"""Text of standards: clauses without their numbers, no tables and no formal notation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import Field

from langadapt.contracts import Context, CorpusReader, Document, Resource
from langadapt.contracts.reading import fetch, tables

CLAUSE = re.compile(r"^\s*(?:#+\s*)?(?:(?:Annex [A-Z]|[A-Z]?\d{1,2})(?:\.\d+[a-z]?)+|Annex [A-Z]|\d{1,2})\s+(?=[A-Z])")
CONTENTS = re.compile(r"(?:\.\s?){4,}\s*\d+\s*$|\t\d+\s*$")
TABLE = re.compile(r"^\s*\|.*\|\s*$|^\s*[-+=|]{4,}\s*$|^(?:Table|Figure) [A-Z]?\d[\d.]*-\d+[a-z]?:")
FORMAL = re.compile(r"::=|^\s*--|%x[0-9A-Fa-f]{2}|=/|^\s*[A-Za-z][\w-]* = [^.]*(?:\*\(|%d\d|\bDIGIT\b|\bALPHA\b)")
FENCE = re.compile(r"^\s*(?:```|-- ASN1STA?RT|-- ASN1STOP|-- TAG-)")
SYMBOLS = re.compile(r"[^\w\s,.;:()/-]")


class Standards(CorpusReader):
    """Paragraphs of 3GPP- or RFC-like documents, one a line: clause numbers taken off, tables, contents, ASN.1 and ABNF left out.

    Lines that are mostly symbols go too.  How many of each is said.
    """

    name: ClassVar[str] = "standards"
    version: ClassVar[str] = "1"

    data: Resource
    shortest: Annotated[int, Field(ge=1)] = 30
    """Characters of a paragraph; stubs and bare headings are left out."""

    def documents(self, ctx: Context) -> Iterator[Document]:
        left = {"table rows": 0, "lines of contents": 0, "lines of formal notation": 0, "stubs": 0}
        for path in fetch(self.data, ctx):
            fenced = False
            for number, line in tables.lines(path):
                if FENCE.search(line):
                    fenced = not fenced if "```" in line or "ASN1" in line else fenced
                    left["lines of formal notation"] += 1
                    continue
                why = "lines of formal notation" if fenced else refused(line)
                text = CLAUSE.sub("", line).strip()
                if why is None and len(text) < self.shortest:
                    why = "stubs"
                if why is None:
                    yield Document(text, f"{path.name}:{number}")
                elif line.strip():
                    left[why] += 1
        ctx.log.info("left out: " + ", ".join(f"{count:,} {what}" for what, count in left.items()))


def refused(line: str) -> str | None:
    """Why a line is no running text, or None."""
    if TABLE.search(line):
        return "table rows"
    if CONTENTS.search(line):
        return "lines of contents"
    if FORMAL.search(line) or (line.strip() and len(SYMBOLS.findall(line)) > 0.25 * len(line)):
        return "lines of formal notation"
    return None
