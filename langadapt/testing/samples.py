"""A few rows of each format of data, as files: what components that read a resource are tried on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from langadapt.files import stable_hash
from langadapt.manifests.resource import Format, PathSource, Resource, Sources
from langadapt.planning.pinning import pin_paths
from langadapt.testing.toys import SENTENCES, TEXTS, scratch


def sample(form: Format, lines: Sequence[str] | None = None) -> Resource:
    """A pinned resource of a format, with a hundred rows in three languages, or the lines that are given.

    Raises:
        KeyError: there is no sample of the format.
    """
    written = list(lines) if lines is not None else _lines()[form]
    path = _folder() / f"{form}-{stable_hash(written)[:12]}.{ENDINGS.get(form, 'tsv')}"
    path.write_text("\n".join(written) + "\n", encoding="utf-8")
    found = Resource(name=f"sample-{form}", format=form, sources=Sources(path=PathSource(paths=[str(path)])))
    return found.model_copy(update={"pinned": pin_paths(found, (path,), "sample")})


ENDINGS: dict[Format, str] = {"text": "txt", "tags": "conll", "vectors": "vec"}


@cache
def _folder() -> Path:
    return scratch("samples")


@cache
def _lines() -> dict[Format, list[str]]:
    """Format → the lines of its file."""
    pairs = [(text, TEXTS[(7 * i + 1) % len(TEXTS)]) for i, text in enumerate(TEXTS)]
    labels = ("entailment", "neutral", "contradiction")
    words = sorted({word for text in SENTENCES for word in text.rstrip(".").split()})
    rng = random.Random(5)
    vectors = [f"{word} {' '.join(f'{rng.gauss(0, 1):.4f}' for _ in range(8))}" for word in words]
    return {
        "text": list(TEXTS),
        "nli": ["premise\thypothesis\tlabel", *(f"{a}\t{b}\t{labels[i % 3]}" for i, (a, b) in enumerate(pairs))],
        "sts": ["sentence1\tsentence2\tscore", *(f"{a}\t{b}\t{i % 6}" for i, (a, b) in enumerate(pairs))],
        "retrieval": ["question\tanswer", *(f"{a}\t{b}" for a, b in pairs)],
        "classification": ["text\tlabel", *(f"{text}\t{('old', 'new')[i % 2]}" for i, text in enumerate(TEXTS))],
        "parallel": ["source\ttarget", *(f"{a}\t{b}" for a, b in pairs)],
        "dictionary": ["source\ttarget", *(f"{word}\t{word}" for word in words)],
        "vectors": [f"{len(words)} 8", *vectors],
        "tags": [line for text in TEXTS for line in (*_tagged(text), "")],
    }


def _tagged(text: str) -> list[str]:
    """Words with a tag each: the first of a sentence is a name."""
    return [f"{word}\t{'B-NAME' if i == 0 else 'O'}" for i, word in enumerate(text.rstrip(".").split())]
