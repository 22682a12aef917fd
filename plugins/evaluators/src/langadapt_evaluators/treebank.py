"""What a treebank of Universal Dependencies says of each of its sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from langadapt.contracts import Context, Resource
from langadapt.contracts.reading import fetch, tables
from langadapt.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

Syntax = Literal["tree-depth", "tense", "subject-number", "object-number"]

CLASSES = 5
"""Of `tree-depth`: classes of about equal size."""


def labelled(data: Resource, task: Syntax, ctx: Context) -> tuple[list[str], np.ndarray]:
    """Sentences of which a task can be asked, each once, and their classes (n,), numbered."""
    asked: dict[Syntax, Callable[[Any], Any]] = {
        "tree-depth": depth,
        "tense": lambda sentence: _feature(sentence, _root(sentence), "Tense"),
        "subject-number": lambda sentence: _number(sentence, "nsubj"),
        "object-number": lambda sentence: _number(sentence, "obj"),
    }
    found = {text: answer for text, sentence in sentences(data, ctx) if (answer := asked[task](sentence)) is not None}
    if task == "tree-depth":
        depths = np.array(list(found.values()), dtype=np.int64)
        edges = np.unique(np.quantile(depths, np.arange(1, CLASSES) / CLASSES)) if len(depths) else np.array([])
        return list(found), np.searchsorted(edges, depths, side="left")
    names = sorted(set(found.values()))
    return list(found), np.array([names.index(answer) for answer in found.values()], dtype=np.int64)


def sentences(data: Resource, ctx: Context) -> Iterator[tuple[str, Any]]:
    """(text, tree as conllu reads it) of CoNLL-U files.

    Raises:
        DataError: a sentence is none, with the line that it begins at.
    """
    from conllu import parse
    from conllu.exceptions import ParseException

    for path in fetch(data, ctx):
        for where, block in _blocks(path):
            try:
                (sentence,) = parse(block)
                words = [token for token in sentence if isinstance(token["id"], int)]
                text = str(sentence.metadata.get("text") or " ".join(token["form"] for token in words)).strip()
                words = [{name: token[name] for name in ("id", "form", "head", "deprel", "feats")} for token in words]
                if sum(token["head"] == 0 for token in words) != 1:
                    raise ValueError("it has not one root")
            except (ParseException, ValueError, KeyError, TypeError) as error:
                raise DataError(f"is no sentence in CoNLL-U: {' '.join(str(error).split())[:200]}", where=where) from error
            yield text, words


def _blocks(path: Path) -> Iterator[tuple[str, str]]:
    """(``file:line`` of its first line, the lines) of each sentence."""
    start, block = 0, ""
    for number, line in tables.lines(path):
        if line.strip():
            start = start if block else number
            block += f"{line}\n"
        elif block:
            yield f"{path}:{start}", f"{block}\n"
            block = ""
    if block:
        yield f"{path}:{start}", f"{block}\n"


def depth(words: Any) -> int | None:
    """Words on the longest way from the root to a word; None where a word's heads lead in a circle."""
    heads = {token["id"]: token["head"] for token in words}
    longest = 0
    for word in heads:
        steps, at = 1, word
        while heads.get(at):
            steps, at = steps + 1, heads[at]
            if steps > len(heads):
                return None
        longest = max(longest, steps)
    return longest


def _root(words: Any) -> Any:
    return next(token for token in words if token["head"] == 0)


def _feature(words: Any, token: Any, name: str) -> str | None:
    """A feature of a word, or of an auxiliary that depends on it."""
    helpers = [one for one in words if one["head"] == token["id"] and one["deprel"].partition(":")[0] in ("aux", "cop")]
    return next((one["feats"][name] for one in (token, *helpers) if one["feats"] and name in one["feats"]), None)


def _number(words: Any, relation: str) -> str | None:
    """The number of what depends on the root by a relation."""
    root = _root(words)["id"]
    found = [one for one in words if one["head"] == root and one["deprel"].partition(":")[0] == relation and one["feats"]]
    return next((one["feats"]["Number"] for one in found if one["feats"].get("Number") in ("Sing", "Plur")), None)
