"""Names of resources that shipped recipes use, and what a file for each looks like."""

from __future__ import annotations

import re

from langadapt.manifests.resource import Format

# Formats of the resource names that shipped recipes use, for a language whose manifest does not list them.
STANDARD: dict[str, Format] = {
    "encoder": "encoder",
    "corpus": "text",
    "nli": "nli",
    "paraphrase": "paraphrase",
    "sts": "sts",
    "sts-dev": "sts",
    "sts-test": "sts",
    "pairs": "retrieval",
    "dictionary": "dictionary",
    "vectors": "vectors",
    "parallel": "parallel",
    "classification": "classification",
    "classification-test": "classification",
    "tags": "tags",
    "tags-test": "tags",
}


def standard(name: str) -> Format | None:
    """The format of a resource name that shipped recipes use, also of one in another language (``nli-en``)."""
    return STANDARD.get(name) or (STANDARD.get(found[1]) if (found := IN_ANOTHER.fullmatch(name)) else None)


IN_ANOTHER = re.compile(r"(.+)-([a-z]{2,3})")


FORMS: dict[Format, str] = {
    "nli": "premise, hypothesis, label (entailment, neutral, contradiction)",
    "paraphrase": "sentence1, sentence2, label (P, NP)",
    "sts": "sentence1, sentence2, score (0 to 5)",
    "retrieval": "question and answer, or a BEIR folder",
    "classification": "text, label",
    "tags": "a word and its tag a line, an empty line after each sentence",
    "text": "one document a line",
}
"""What a file of a format holds, in a few words."""


def form_of(name: str) -> str:
    """How a file for a resource looks, and that pairs can be translated."""
    found = standard(name)
    shape = f" It is a table or text: {FORMS[found]}; see README, 'With your data'." if found in FORMS else ""
    if found in ("nli", "sts") and name in ("nli", "sts"):
        shape += f" Or translate another language's: --resource {name}-en=PATH --translator NAME (docs/howto/translation.md)."
    return shape
