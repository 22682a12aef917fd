"""Notes split into sections and sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from langadapt.contracts import Context, CorpusReader, Document, Resource
from langadapt.contracts.reading import fetch, tables

HEADING = re.compile(r"(?:(?<=^)|(?<=[.,;:\n] )|(?<=[.,;:\n]))\s*([A-Z][A-Z0-9 /&'()-]{2,50}[A-Z)]):,?(?=\s|$)")
"""Capital letters and a colon at the beginning or behind a stop: how transcribed and exported notes mark their sections."""

TITLE = re.compile(r"^[ \t]*([A-Z][^\n:]{1,50}):(?=\s|$)", re.MULTILINE)
"""What may be a heading at the beginning of a line, if its words are written like a title's."""

SMALL = ("of", "on", "or")
"""Words that a title writes small."""

ABBREVIATIONS = frozenset(
    (
        *("dr", "mr", "mrs", "ms", "pt", "vs", "no", "approx", "resp", "temp", "wt", "ht", "hx", "dx", "rx", "tx", "sx", "fx", "etc"),
        *("bid", "tid", "qid", "qd", "prn", "po", "iv", "im", "sc", "q.d", "b.i.d", "t.i.d", "q.i.d", "p.o", "i.v", "i.m", "e.g", "i.e"),
        *("fig", "al", "st", "jr", "sr", "dept", "inc", "a.m", "p.m"),
    )
)
STOP = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9(\"'])|\s*\n+\s*|(?<=;)\s+(?=[A-Z])")
NUMBERED = re.compile(r"\s+(?=\d{1,2}\. [A-Z])")
DISCHARGE = re.compile(
    r"discharge (?:summary|diagnos|instruction|medication|condition|disposition)|date of discharge|hospital course", re.I
)


class Notes(CorpusReader):
    """Clinical notes by note, section or sentence; all of them or discharge summaries alone.

    Alsentzer et al. 2019 (arXiv:1904.03323) train on all notes of MIMIC-III and on its discharge summaries.  A note counts as a
    discharge summary where its type (a column ``category`` or ``type``) is ``Discharge summary``, or else where its own headings say so.
    Headings are capitals and a colon, or by the authors' rule (EmilyAlsentzer/clinicalBERT, heuristic_tokenize.py, a9d9169) a line's
    beginning written like a title, and a colon.  Their sections only end sentences; they train on pieces of whole notes: unit ``note``.
    """

    name: ClassVar[str] = "notes"
    version: ClassVar[str] = "2"

    data: Resource
    notes: Literal["all", "discharge"] = "all"
    unit: Literal["note", "section", "sentence"] = "section"
    sections: list[str] = []
    """Keep sections whose heading contains one of these words, in any case; empty keeps all."""
    shortest: Annotated[int, Field(ge=1)] = 20
    """Characters of a piece; headings and stubs below that are left out."""

    def documents(self, ctx: Context) -> Iterator[Document]:
        seen = kept = 0
        for origin, note, kind in self._notes(ctx):
            seen += 1
            if self.notes == "discharge" and not discharge(note, kind):
                continue
            kept += 1
            yield from (Document(piece, origin) for piece in self._pieces(note) if len(piece) >= self.shortest)
        ctx.log.info(f"{kept:,} of {seen:,} notes read as {self.unit}s")

    def _notes(self, ctx: Context) -> Iterator[tuple[str, str, str]]:
        """(origin, text, type) of every note."""
        for path in fetch(self.data, ctx):
            if tables.suffix(path) in (".txt", ""):
                yield from ((f"{path.name}:{number}", text, "") for number, text in tables.lines(path))
                continue
            for where, row in tables.rows(path):
                text = tables.column(row, (self.data.columns.get("text", "text"), "transcription", "TEXT"), where)
                kind = next((str(row[name]) for name in ("category", "CATEGORY", "type", "label") if row.get(name)), "")
                yield f"{path.name}:{where.rsplit(':', 1)[-1]}", text, kind

    def _pieces(self, note: str) -> Iterator[str]:
        if self.unit == "note" and not self.sections:
            yield note
            return
        wanted = [word.casefold() for word in self.sections]
        for heading, text in sections(note):
            if wanted and not any(word in heading.casefold() for word in wanted):
                continue
            if self.unit == "sentence":
                yield from sentences(text)
            else:
                yield f"{heading}: {text}" if heading else text


def sections(note: str) -> list[tuple[str, str]]:
    """(heading, text) in order; text before the first heading has none."""
    marks: list[re.Match[str]] = []
    titles = (mark for mark in TITLE.finditer(note) if _title(mark[1]))
    for mark in sorted([*HEADING.finditer(note), *titles], key=lambda mark: mark.start(1)):
        if not marks or mark.start(1) >= marks[-1].end():
            marks.append(mark)
    ends = [*(mark.start() for mark in marks[1:]), len(note)][: len(marks)]
    found = [("", note[: marks[0].start()].strip(" ,\n"))] if marks else [("", note.strip())]
    found += [(mark[1].strip(), note[mark.end() : end].strip(" ,\n")) for mark, end in zip(marks, ends, strict=True)]
    return [(heading, text) for heading, text in found if text]


def _title(words: str) -> bool:
    """Whether words are written like a title's; what stands in brackets does not count.  "Disp" begins a line of a prescription."""
    plain = re.sub(r"\([^)]*\)", "", words)
    return plain.strip() != "Disp" and all(word in SMALL or word[0].isupper() for word in plain.split())


def sentences(text: str) -> list[str]:
    """Sentences of a section: stops of abbreviations, figures and numbered lists do not end one."""
    found: list[str] = []
    for line in NUMBERED.split(text):
        start = 0
        for gap in STOP.finditer(line):
            last = line[start : gap.start()].rsplit(None, 1)[-1:]
            word = last[0].rstrip(".").casefold() if last else ""
            if line[gap.start() - 1 : gap.start()] == "." and (word in ABBREVIATIONS or re.fullmatch(r"\d{1,2}|[a-z]", word)):
                continue
            found.append(line[start : gap.start()].strip())
            start = gap.end()
        found.append(line[start:].strip())
    return [sentence for sentence in found if sentence]


def discharge(note: str, kind: str = "") -> bool:
    """Whether a note is a discharge summary, by its type or else by its headings."""
    if kind:
        return kind.strip().casefold() in ("discharge summary", "discharge")
    return bool(DISCHARGE.search(note))
