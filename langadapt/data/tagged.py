"""Sentences of tagged words, in the layouts that treebanks and named-entity corpora are published in.

- ``word<tab>tag`` or ``word tag``, an empty line after each sentence;
- CoNLL-2003: word, part of speech, chunk, entity; the last column is the tag, ``-DOCSTART-`` begins a document;
- CoNLL-U: ten columns, of which UPOS is the tag; ``#`` begins a comment, ranges and empty nodes (``1-2``, ``1.1``) are left out;
- word, tag and sentence number, with a header and with or without empty lines (L3Cube-MahaNER).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from langadapt.data.text_lines import lines
from langadapt.errors import DataError
from langadapt.manifests.resource import Resource

Sentence = list[tuple[str, str]]

CONLLU, UPOS = 10, 3
HEADERS = ("word", "words", "token", "tokens", "form")
"""What a header calls the column of the words."""
TAGS = ("tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags", "pos", "upos")
SENTENCES = ("sentence_id", "sentence id", "sent_id", "sentence", "sentence #", "sentence_number", "sentence no")


def read(path: Path, data: Resource | None = None) -> list[Sentence]:
    """All sentences of a file.

    Args:
        path: the file.
        data: states other columns, ``{word: NAME_OR_NUMBER, tag: …, sentence: …}``.

    Raises:
        DataError: a line with other columns than the first, an empty tag, or no sentence at all.
    """
    found: list[Sentence] = []
    now: Sentence = []
    before = ""
    for word, tag, sentence in _words(path, data):
        if now and (not word or (sentence and sentence != before)):
            found.append(now)
            now = []
        if word:
            now.append((word, tag))
            before = sentence
    found += [now] if now else []
    if not found:
        raise DataError("there are no tagged sentences", where=str(path))
    return found


def _words(path: Path, data: Resource | None) -> Iterator[tuple[str, str, str]]:
    """(word, tag, sentence) of each line; three empty texts where a sentence ends."""
    width, columns = 0, (0, 1, -1)
    for number, line in lines(path):
        text = line.rstrip()
        if not text.strip() or text.startswith("-DOCSTART-"):
            yield "", "", ""
            continue
        fields = text.split("\t") if "\t" in text else text.split()
        if text.startswith("#") and len(fields) != width:  # a comment; a word '#' has a tag beside it
            continue
        if not width:
            width = len(fields)
            header = [field.strip().lower() for field in fields]
            columns = _columns(header, width, data, f"{path}:{number}")
            if _is_header(header):
                continue
        if len(fields) != width:
            raise DataError(
                f"{len(fields)} columns where the first line has {width}",
                where=f"{path}:{number}",
                hint="One word a line with its tag, separated by a tab; an empty line ends a sentence.",
            )
        if width == CONLLU and not fields[0].isdigit():
            continue
        word, tag = fields[columns[0]].strip(), fields[columns[1]].strip()
        if not word or not tag:
            raise DataError("a word or its tag is empty", where=f"{path}:{number}", hint="Correct the line, or take it out.")
        yield word, tag, fields[columns[2]].strip() if columns[2] >= 0 else ""


def _is_header(fields: list[str]) -> bool:
    """Whether a first line names columns: "word" alone may be a word."""
    return any(field in HEADERS for field in fields) and any(field in TAGS for field in fields)


def _columns(header: list[str], width: int, data: Resource | None, where: str) -> tuple[int, int, int]:
    """(word, tag, sentence or -1) columns, from what is stated, a header, or the layout's width."""
    stated = data.columns if data is not None else {}
    if stated:
        return tuple(_stated(name, stated.get(name), header, data, where) for name in ("word", "tag", "sentence"))  # type: ignore
    if _is_header(header):
        word, tag = (next(i for i, name in enumerate(header) if name in known) for known in (HEADERS, TAGS))
        return word, tag, next((i for i, name in enumerate(header) if name in SENTENCES), -1)
    if width == 2:
        return 0, 1, -1
    if width == CONLLU:
        return 1, UPOS, -1
    if width == 4:
        return 0, 3, -1
    hint = data.option("columns", "{word: 1, tag: 2}") if data is not None else "Keep the word and its tag."
    raise DataError(
        f"{width} columns where 'word<tab>tag' is meant, and no header says which of them is the tag",
        where=where,
        hint=f"Say which columns they are: {hint}; 'sentence' names the one that numbers sentences.",
    )


def _stated(name: str, value: str | None, header: list[str], data: Resource | None, where: str) -> int:
    if value is None:
        if name == "sentence":
            return -1
        value = {"word": "1", "tag": "2"}[name]
    if value.isdigit() and 1 <= int(value) <= len(header):
        return int(value) - 1
    if value.lower() in header:
        return header.index(value.lower())
    raise DataError(
        f"no column '{value}' (there are: {', '.join(header)[:200]})",
        where=where,
        hint=f"Say which it is: {data.option('columns', f'{{{name}: NUMBER}}') if data is not None else name}.",
    )
