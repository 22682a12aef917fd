"""Two translations of the same pairs side by side: what each keeps, how often they agree, and where they differ most.

    python benchmarks/compare_translations.py STORE/objects/KEY_OF_ONE STORE/objects/KEY_OF_OTHER

The folders are data sets of stages `pair` that translate (their keys are in a run's lock.json).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sacrebleu.metrics import CHRF

from langadapt.artifacts import dataset

SOURCES = (
    ("source_premise", "premise"),
    ("source_hypothesis", "hypothesis"),
    ("source_sentence1", "sentence1"),
    ("source_sentence2", "sentence2"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("one", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--shown", type=int, default=5)
    given = parser.parse_args()
    one, other = sentences(given.one), sentences(given.other)
    both = sorted(one.keys() & other.keys())
    metric = CHRF()
    scores = [metric.sentence_score(other[text], [one[text]]).score for text in both]
    alike = sum(one[text] == other[text] for text in both)
    print(f"| distinct sentences kept | {len(one):,} | {len(other):,} |")
    print(f"| kept by both | {len(both):,} | {100 * len(both) / max(1, len(one)):.1f} % and {100 * len(both) / max(1, len(other)):.1f} % |")
    print(f"| translated alike | {alike:,} | {100 * alike / max(1, len(both)):.1f} % |")
    print(f"| chrF of the second against the first | mean {sum(scores) / max(1, len(scores)):.1f} | |")
    for score, text in sorted(zip(scores, both, strict=True))[: given.shown]:
        print(f"\n{score:.0f}  {text}\n    {one[text]}\n    {other[text]}")


def sentences(folder: Path) -> dict[str, str]:
    """Source → translation of every sentence that the data set kept."""
    rows = dataset.load(folder).rows
    found: dict[str, str] = {}
    for source, target in SOURCES:
        if source in rows.column_names:
            found |= dict(zip(rows[source], rows[target], strict=True))
    return found


if __name__ == "__main__":
    main()
