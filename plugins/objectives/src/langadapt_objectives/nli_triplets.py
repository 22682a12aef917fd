"""Anchor, positive and negative from NLI rows: what is entailed is like, what is contradicted is not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal
from zlib import crc32

Anchors = Literal["both", "premise"]

Triplet = dict[str, str | None]

LABELS = ("entailment", "contradiction")


def triplets(data: Iterable[Mapping[str, Any]], anchors: Anchors) -> list[Triplet]:
    """Rows ``anchor, positive, negative`` of rows ``premise, hypothesis, label``, in the data's order; a negative may be None.

    ``both`` is the rule of SBERT's training on NLI (Reimers & Gurevych 2019; sentence-transformers, training_nli_v2.py, v3.4.1): relations
    are read in both directions, and every text that has something entailed and something contradicted gives two triplets, with itself as
    anchor and as positive, one partner drawn of each kind.  There the draw is random; here the text itself decides it, so that the same
    data give the same triplets.  Entailed pairs of a premise with nothing contradicted, which are left out there, stay as pairs.

    ``premise``: every entailed hypothesis once, with its premise as anchor and the premise's contradicted hypotheses in turn.
    """
    rows = [(row["premise"], row["hypothesis"], row["label"]) for row in data if row["label"] in LABELS]
    return list(_of_either(rows) if anchors == "both" else _of_premises(rows))


def _of_either(rows: list[tuple[str, str, str]]) -> Iterator[Triplet]:
    partners: dict[str, dict[str, dict[str, None]]] = {}  # text → label → its partners, each once and in order
    for premise, hypothesis, label in rows:
        for text, partner in ((premise, hypothesis), (hypothesis, premise)):
            partners.setdefault(text, {label: {} for label in LABELS})[label][partner] = None
    whole = {text for text, found in partners.items() if all(found.values())}
    for text, found in partners.items():
        if text in whole:
            for role in ("anchor", "positive"):
                like, unlike = (_drawn(list(found[label]), f"{role} {label} {text}") for label in LABELS)
                anchor, positive = (text, like) if role == "anchor" else (like, text)
                yield {"anchor": anchor, "positive": positive, "negative": unlike}
    for premise, hypothesis, label in rows:
        if label == "entailment" and not whole & {premise, hypothesis}:
            yield {"anchor": premise, "positive": hypothesis, "negative": None}


def _drawn(choices: list[str], key: str) -> str:
    return choices[crc32(key.encode("utf-8", "surrogatepass")) % len(choices)]


def _of_premises(rows: list[tuple[str, str, str]]) -> Iterator[Triplet]:
    contradicted: dict[str, list[str]] = defaultdict(list)
    entailed: dict[str, int] = defaultdict(int)
    for premise, hypothesis, label in rows:
        if label == "contradiction":
            contradicted[premise].append(hypothesis)
    for premise, hypothesis, label in rows:
        if label == "entailment":
            choices = contradicted.get(premise)
            negative = choices[entailed[premise] % len(choices)] if choices else None
            entailed[premise] += 1
            yield {"anchor": premise, "positive": hypothesis, "negative": negative}
