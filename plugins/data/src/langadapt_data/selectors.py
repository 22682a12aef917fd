"""Selectors of running text: near-duplicates and script."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import regex
from pydantic import Field

from langadapt.contracts import Context, Selector
from langadapt.contracts.text import script_class

if TYPE_CHECKING:
    from datasets import Dataset


class NearDuplicates(Selector):
    """Drop texts that nearly repeat an earlier one, by MinHash and banding.

    Broder 1997 (MinHash); banding as in Leskovec, Rajaraman & Ullman, *Mining of Massive Datasets*, chapter 3.  Texts are
    compared by their sets of word 3-grams (character 5-grams below five words); candidates that share a band are checked with
    the full signature.
    """

    name: ClassVar[str] = "near-duplicates"
    drops_repeats: ClassVar[bool] = True

    threshold: Annotated[float, Field(gt=0.2, le=1)] = 0.8
    """Estimated Jaccard similarity from which a text counts as repeated."""
    hashes: Annotated[int, Field(ge=16, le=512, multiple_of=8)] = 64

    def select(self, rows: Dataset, encoder: Any, ctx: Context) -> Dataset:
        rng = ctx.rng("minhash")
        factors = rng.integers(1, PRIME, size=self.hashes, dtype=np.uint64)
        shifts = rng.integers(0, PRIME, size=self.hashes, dtype=np.uint64)
        bands: list[dict[bytes, list[int]]] = [defaultdict(list) for _ in range(self.hashes // ROWS)]
        signatures: dict[int, np.ndarray] = {}
        kept = []
        for i, text in enumerate(ctx.log.track(rows["text"], "near-duplicates", len(rows))):
            signature = _signature(text, factors, shifts)
            parts = [signature[b * ROWS : (b + 1) * ROWS].tobytes() for b in range(len(bands))]
            candidates = {other for band, part in zip(bands, parts, strict=True) for other in band.get(part, ())}
            if any(np.mean(signatures[other] == signature) >= self.threshold for other in candidates):
                continue
            for band, part in zip(bands, parts, strict=True):
                band[part].append(i)
            signatures[i] = signature
            kept.append(i)
        ctx.log.info(f"near-duplicates: {len(rows) - len(kept):,} of {len(rows):,} dropped")
        return rows.select(kept)


PRIME = (1 << 31) - 1
ROWS = 4
"""Signature rows in a band: similar texts (0.8) then share one of 16 bands with probability above 0.999."""


def _signature(text: str, factors: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """MinHash signature (hashes,) of a text's shingles."""
    words = text.split()
    if len(words) >= 5:
        shingles = {" ".join(words[i : i + 3]) for i in range(len(words) - 2)}
    else:
        shingles = {text[i : i + 5] for i in range(max(1, len(text) - 4))}
    import zlib

    values = np.fromiter((zlib.crc32(s.encode()) % PRIME for s in shingles), dtype=np.uint64, count=len(shingles))
    found: np.ndarray = ((values[:, None] * factors + shifts) % PRIME).min(0).astype(np.uint32)
    return found


class Script(Selector):
    """Keep texts of which at least `share` of the letters are written in one of the scripts (ISO 15924 codes)."""

    name: ClassVar[str] = "script"

    scripts: Annotated[list[str], Field(min_length=1)]
    share: Annotated[float, Field(ge=0, le=1)] = 0.5

    def select(self, rows: Dataset, encoder: Any, ctx: Context) -> Dataset:
        wanted, letter = script_pattern(self.scripts), regex.compile(r"[\p{L}\p{M}]")
        kept = []
        for i, text in enumerate(rows["text"]):
            letters = len(letter.findall(text))
            if letters and len(wanted.findall(text)) >= self.share * letters:
                kept.append(i)
        ctx.log.info(f"script: {len(rows) - len(kept):,} of {len(rows):,} texts are not in {', '.join(self.scripts)}")
        return rows.select(kept)


def script_pattern(scripts: list[str]) -> Any:
    """A compiled pattern for one letter or mark of the scripts.

    Raises:
        RegistryError: a code that Unicode does not know.
    """
    return regex.compile(f"[{script_class(scripts)}]")
