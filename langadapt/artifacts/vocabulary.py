"""``token_origins.json``: where every row of a moved vocabulary came from."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from langadapt.contracts.vocabulary import Mixture
from langadapt.files import read_json, write_text

FILE = "token_origins.json"
COPIED = "copied"
KEPT = 8
"""Sources kept per token, the heaviest."""


@dataclass(frozen=True)
class Origins:
    """Where the rows of a vocabulary came from.

    Args:
        words: one word a token, (V,): ``copied``, ``mean of pieces``, ``random``, …
        sources: per token up to eight (old piece, weight), the heaviest first; empty for a row that is no mixture.
        method: registry name of the vocab-init.
        rest: id → (how many more sources, their weights' sum), of tokens that have more.
    """

    words: list[str]
    sources: list[list[tuple[str, float]]]
    method: str = ""
    rest: dict[int, tuple[int, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, mixture: Mixture, old: list[str], method: str) -> Origins:
        """What a mixture says, in words: `old` are the old pieces, (V_old,)."""
        weights = mixture.weights
        sources: list[list[tuple[str, float]]] = []
        rest: dict[int, tuple[int, float]] = {}
        for i, (low, high) in enumerate(zip(weights.indptr[:-1], weights.indptr[1:], strict=True)):
            if i in mixture.rows:
                sources.append([])
                continue
            values = weights.data[low:high]
            heaviest = np.argsort(-np.abs(values), kind="stable")[:KEPT]
            sources.append([(old[weights.indices[low + k]], round(float(values[k]), 4)) for k in heaviest])
            if len(values) > KEPT:
                rest[i] = (len(values) - KEPT, round(float(values.sum() - values[heaviest].sum()), 4))
        return cls(mixture.provenance, sources, method, rest)

    def fresh(self) -> np.ndarray:
        """Ids of the tokens that are no copies, (n,)."""
        return np.flatnonzero(np.array([word != COPIED for word in self.words], dtype=bool))

    def counts(self) -> dict[str, int]:
        """Tokens by origin, most frequent first."""
        return dict(Counter(self.words).most_common())


def save(origins: Origins, folder: Path) -> None:
    """Write the file, compact: it has a row for every token."""
    kinds = list(dict.fromkeys(origins.words))
    plain = {kind: i for i, kind in enumerate(kinds)}
    told = {
        "counts": origins.counts(),
        "method": origins.method,
        "kinds": kinds,
        "words": [plain[word] for word in origins.words],
        "sources": {str(i): row for i, row in enumerate(origins.sources) if row},
        "rest": origins.rest,
    }
    text = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
    write_text(folder / FILE, (text + "\n").encode())


def load(folder: Path) -> Origins | None:
    """The origins in a folder; None where its vocabulary was never moved."""
    if not (folder / FILE).is_file():
        return None
    found = read_json(folder / FILE)
    if "kinds" not in found:  # written before 0.2
        words, rows = found["words"], dict(enumerate(found["sources"]))
    else:
        words = [found["kinds"][i] for i in found["words"]]
        rows = {int(i): row for i, row in found["sources"].items()}
    sources = [[(piece, weight) for piece, weight in rows.get(i, ())] for i in range(len(words))]
    rest = {int(i): (count, weight) for i, (count, weight) in found.get("rest", {}).items()}
    return Origins(words, sources, found["method"], rest)
