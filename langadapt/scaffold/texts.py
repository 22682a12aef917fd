"""The texts of a new package, with names in braces."""

from __future__ import annotations

FILES = {
    "pyproject.toml": """[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "langadapt-{name}"
version = "0.1.0"
description = "{what}"
readme = "README.md"
requires-python = ">=3.11"
dependencies = [
{needs}
]

[project.optional-dependencies]
test = ["pytest"]

[project.entry-points.langadapt]
{name} = "{module}.plugin"

[tool.setuptools.packages.find]
where = ["src"]

[tool.setuptools.package-data]
{module} = [{data}]

[[tool.mypy.overrides]]
module = ["datasets.*", "scipy.*", "tokenizers.*"]
ignore_missing_imports = true
""",
    "README.md": """# langadapt-{name}

{what}.

    pip install -e '.[test]' && pytest

{use}
""",
    ".github/workflows/test.yml": """name: test
on: [push, pull_request]
jobs:
  test:
    runs-on: ubuntu-latest
    steps:
    - uses: actions/checkout@v4
    - uses: actions/setup-python@v5
      with:
        python-version: "3.11"
    - run: pip install torch --index-url https://download.pytorch.org/whl/cpu
    - run: pip install '.[test]'
    - run: pytest
""",
    ".gitignore": """__pycache__/
*.egg-info/
build/
dist/
runs/
""",
}
"""Path → text, of every package."""

PLUGIN = '''"""What this plugin brings, as strings: nothing is imported until a recipe names it."""

from __future__ import annotations

from collections.abc import Iterable

from langadapt.contracts import ComponentRef, hookimpl


@hookimpl
def langadapt_components() -> Iterable[ComponentRef]:
    return [
{refs}
    ]
'''

TEST = '''"""Every component of this plugin before the laws of its kind."""

from langadapt.testing import conformance{sample}

EXAMPLES = {examples}

test_conformance = conformance("{module}.plugin", examples=EXAMPLES)
'''

EXAMPLES = {
    "corpus": '{"data": sample("text")}',
    "evaluator": '{"data": sample("sts")}',
    "pairs": '{"data": sample("parallel")}',
    "translator": '{"words": {"old": "viejo"}}',
}
"""Kind → options that its component cannot do without, for the laws."""

RECIPE_PLUGIN = '''"""Where this plugin's recipes lie."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from langadapt.contracts import hookimpl


@hookimpl
def langadapt_data_dirs() -> Iterable[Path]:
    return [Path(__file__).resolve().parent]
'''

RECIPE = """recipe: {name}
summary: A sentence encoder from NLI pairs, scored on STS beside its base.
note: >-
  Every stage names a verb (do:) and the stages that it reads; 'langadapt show stage train' lists what a stage may say, and
  'langadapt list objective' what there is to choose from.  $lang.… is filled in by the language's manifest or by --resource.
stages:
  base:    {{do: load, source: $lang.encoder, pooler: mean}}
  pairs:   {{do: pair, source: {{use: nli, data: $lang.nli}}, normalizer: $lang.normalizer}}
  tuned:
    do: train
    encoder: base
    data: pairs
    objective: {{use: multiple-negatives, scale: 20}}
    epochs: 1
    batch_size: 64
    learning_rate: 2e-5
  scores:  {{do: evaluate, encoders: [base, tuned], evaluators: {{use: sts, data: $lang.sts-test}}, normalizer: $lang.normalizer}}
  release: {{do: export, encoder: tuned, scores: scores, exporters: [sentence-transformers], normalizer: $lang.normalizer}}
"""

RECIPE_TEST = '''"""The recipe is well formed, and two steps of it on a toy encoder end in a release."""

import subprocess
import sys
from pathlib import Path

import {module}
from langadapt.testing import sample
from langadapt.testing.toys import toy_folder

RECIPE = Path({module}.__file__).parent / "recipes" / "{name}.yaml"


def langadapt(*line: str) -> str:
    done = subprocess.run([sys.executable, "-m", "langadapt", *line], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_well_formed() -> None:
    assert "fine" in langadapt("check", str(RECIPE))


def test_it_builds(tmp_path: Path) -> None:
    files = {{name: sample(form).sources.path.paths[0] for name, form in (("nli", "nli"), ("sts-test", "sts"))}}
    langadapt(
        *("build", "--lang", "mr", "--recipe", "{name}", "--base", str(toy_folder()), "--device", "cpu", "--quiet"),
        *(f"--resource={{name}}={{path}}" for name, path in files.items()),
        *("--set=stages.tuned.epochs=", "--set=stages.tuned.steps=2", "--set=stages.tuned.batch_size=8"),
        *(f"--store={{tmp_path / 'store'}}", f"--out={{tmp_path / 'run'}}"),
    )
    assert (tmp_path / "run" / "release" / "model.safetensors").is_file()
'''
