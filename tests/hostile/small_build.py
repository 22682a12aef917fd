"""A whole build that takes a second or two: a tiny BERT, eight pairs, two steps, scores, a release."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matrix

from langadapt.contracts.plan import Request
from langadapt.planning.request import resource_paths
from langadapt.running.build import build
from langadapt.running.runner import Outcome

PAIRS = [
    ("the cat sat on the mat", "a cat is on a mat", 4.5),
    ("two men are playing a guitar", "men play", 3.5),
    ("it rains", "the sun shines", 0.5),
    ("a dog", "a brown dog", 3.0),
    ("prices of wheat rose again", "wheat is dear", 4.0),
    ("the old town", "the market", 2.0),
    ("the quick brown fox", "a lazy dog", 1.0),
    ("on the stage", "in the market", 1.5),
]

RECIPE = """
recipe: small
summary: Everything a build has, in a second.
stages:
  base:    {do: load, source: $lang.encoder, pooler: mean, max_length: 32}
  pairs:   {do: pair, source: {use: sts, data: $lang.sts}}
  tuned:   {do: train, encoder: base, data: pairs, objective: cosine-sts, steps: 2, batch_size: 4, precision: fp32}
  scores:  {do: evaluate, encoders: [base, tuned], evaluators: {use: sts, data: $lang.sts-test}}
  release: {do: export, encoder: tuned, scores: scores, exporters: sentence-transformers}
"""


@dataclass(frozen=True)
class Small:
    """Where a small build's inputs, store and run folder are."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> Small:
        matrix.save("bert", root / "base")
        rows = "".join(f"{a}\t{b}\t{c}\n" for a, b, c in PAIRS)
        for name in ("sts", "test"):
            (root / f"{name}.tsv").write_text(f"sentence1\tsentence2\tscore\n{rows}", encoding="utf-8")
        (root / "small.yaml").write_text(RECIPE, encoding="utf-8")
        return cls(root)

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def run_folder(self) -> Path:
        return self.root / "run"

    def request(self, **changes: Any) -> Request:
        resources = (f"sts={self.root / 'sts.tsv'}", f"sts-test={self.root / 'test.tsv'}")
        given = {
            "recipes": (str(self.root / "small.yaml"),),
            "lang": "en",
            "base": str(self.root / "base"),
            "resources": resource_paths(resources),
        }
        return Request(**{**given, **changes})  # type: ignore[arg-type]

    def build(self) -> Outcome:
        return build(self.request(), store=self.store, out=self.run_folder, quiet=True, device="cpu")

    def release(self) -> dict[str, str]:
        """sha256 of every file of the published release, by name."""
        folder = self.run_folder / "release"
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def flip(path: Path, place: float = 0.5) -> None:
    """Change one bit of a file, and nothing that a directory listing shows."""
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    path.write_bytes(bytes(content))
