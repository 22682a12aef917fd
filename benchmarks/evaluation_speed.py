"""What evaluation costs beside embedding: tests of significance, exact search, the search for rows that training saw, many tasks at once.

    python benchmarks/evaluation_speed.py [--tasks benchmarks/tasks/mr.yaml --data FOLDER --encoder PATH]

Each figure is the median of five runs, the peer's beside ours in the same run.  Without --encoder the last part, which takes minutes, is
left out; with it the tests of the manifest are scored from FOLDER, and their distinct texts are embedded once for comparison.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROUNDS = 5


def seconds(work: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """Median of several runs."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def significance() -> None:
    """10,000 resamples of 10,000 paired scores."""
    from langadapt_evaluators.bootstrap import interval
    from scipy.stats import permutation_test

    from langadapt.artifacts.significance import permutation_p

    rng = np.random.default_rng(0)
    ours = rng.random(10_000)
    theirs = ours + 0.1 * rng.normal(size=10_000)
    differences = ours - theirs
    permuted = seconds(lambda: permutation_p(ours, theirs))
    options: dict[str, Any] = {"permutation_type": "samples", "vectorized": True, "n_resamples": 10_000, "batch": 200}
    peer = seconds(lambda: permutation_test((ours, theirs), lambda x, y, axis: (x - y).mean(axis), **options), 1)
    drawn = seconds(lambda: interval(lambda rows: float(differences[rows].mean()), 10_000, np.random.default_rng(0), 10_000))
    print(f"permutation test, 10,000 patterns of 10,000 pairs: {permuted:.2f} s (scipy's {peer:.2f} s)")
    print(f"bootstrap, 10,000 resamples of 10,000 pairs: {drawn:.2f} s")


def search() -> None:
    """1,000 queries among 100,000 passages of 384 numbers: ranks of the right ones against a plain product."""
    from langadapt_evaluators.retrieval import Retrieval, Search

    from langadapt.contracts.component import Context
    from langadapt.manifests.resource import PathSource, Resource, Sources
    from langadapt.metering import Meter

    rng = np.random.default_rng(0)
    passages = rng.normal(size=(100_000, 384)).astype(np.float32)
    passages /= np.linalg.norm(passages, axis=1, keepdims=True)
    queries = passages[:1000] + 0.05 * rng.normal(size=(1000, 384)).astype(np.float32)

    class Known:
        """An encoder whose vectors are known, so that the search alone is timed."""

        gives = "dense"

        def role(self, name: str) -> None:
            return None

        def encode(self, texts: list[str], **_: Any) -> np.ndarray:
            return queries if len(texts) == 1000 else passages

    data = Resource(name="x", format="retrieval", sources=Sources(path=PathSource(paths=["x"])))
    names = [str(i) for i in range(100_000)]
    asked = Search(names[:1000], names, [{i: 1.0} for i in range(1000)], [None] * 1000)
    meter = Meter()  # the peak begins anew from what the process holds now, the vectors among it
    before = meter.read()["peak_mb"]
    ours = seconds(lambda: Retrieval(data=data)._ranks(Known(), asked, Context()))  # type: ignore[arg-type]
    held = meter.read()["peak_mb"] - before

    def plain() -> None:
        for start in range(0, 1000, 335):
            queries[start : start + 335] @ passages.T

    peer = seconds(plain)
    print(
        f"1,000 queries among 100,000 passages: {ours:.2f} s, {peer / ours:.2f} of numpy's plain product ({peer:.2f} s); {held:.0f} MB more"
    )


def contamination() -> None:
    """A million training lines past 3,000 test texts."""
    from langadapt.data.seen import TestTexts

    rng = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(50_000)])
    weights = 1 / np.arange(1, 50_001)
    weights /= weights.sum()
    lengths = rng.integers(5, 30, size=100_000)
    picked = rng.choice(words, size=int(lengths.sum()), p=weights)
    lines = [" ".join(part) for part in np.split(picked, np.cumsum(lengths)[:-1])]
    tests = lines[:3000]
    start = time.perf_counter()
    index = TestTexts(tests)
    for _ in range(10):
        index.read(lines, "corpus")
    print(f"1,000,000 training lines past 3,000 test texts: {time.perf_counter() - start:.1f} s, {len(index.found):,} found")


def tasks(manifest: Path, folder: Path, encoder: str) -> None:
    """All tests of a manifest beside their distinct texts embedded once."""
    from langadapt.contracts.component import Context
    from langadapt.contracts.plan import Request
    from langadapt.inference.encoder import Encoder
    from langadapt.registry.setup import setup
    from langadapt.running.evaluation import evaluate, manifest_tasks

    manifest = manifest.absolute()
    os.chdir(folder)
    registry, catalog = setup(())
    found, _ = manifest_tasks(Request((), str(manifest)), registry, catalog)
    evaluators = [one for one in found if one.name != "tagging"]  # whose states are of words, not of texts
    texts: dict[str, None] = {}
    loaded = Encoder.load(encoder, device="cpu", registry=registry)
    theirs = loaded.encode

    def listened(asked: list[str], **options: Any) -> np.ndarray:
        texts.update(dict.fromkeys(asked))
        return theirs(asked, **options)

    with tempfile.TemporaryDirectory() as work:
        context = Context(workdir=Path(work), cache=Path(work) / "cache")
        for evaluator in evaluators:
            loaded.encode = listened  # type: ignore[method-assign, assignment]
            evaluator.evaluate(loaded, context)
        loaded.encode = theirs  # type: ignore[method-assign]
        once = seconds(lambda: loaded.encode(list(texts), normalize=True), 1)
        whole = seconds(lambda: evaluate([encoder], evaluators, registry, context, "cpu"), 1)
    print(
        f"{len(evaluators)} tasks, {len(texts):,} distinct texts: {whole:.0f} s, {whole / once:.2f} of embedding them once ({once:.0f} s)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=Path, default=Path("benchmarks/tasks/mr.yaml"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--encoder")
    given = parser.parse_args()
    significance()
    search()
    contamination()
    if given.encoder and given.data:
        tasks(given.tasks, given.data, str(Path(given.encoder).absolute()))


if __name__ == "__main__":
    main()
