"""Starting fast: what the command line imports before it knows what to do."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "numpy", "pydantic", "yaml", "importlib.metadata", "datasets", "pluggy")

COUNT = """
import sys
from langadapt.cli.app import app
try:
    app(args={arguments}, prog_name="langadapt", standalone_mode=False)
except SystemExit:
    pass
print("LOADED", [name for name in {heavy} if name in sys.modules])
"""


def loaded(arguments: list[str], heavy: tuple[str, ...]) -> str:
    code = COUNT.format(arguments=arguments, heavy=heavy)
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return found.stdout.rsplit("LOADED ", 1)[1].strip()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["build", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    assert loaded(arguments, HEAVY) == "[]"


@pytest.mark.parametrize("arguments", [["list"], ["plugins"]])
def test_listing_imports_no_component(arguments: list[str]) -> None:
    components = ("torch", "transformers", "langadapt_vocab.simple", "langadapt_objectives.mlm", "langadapt_starter.sources")
    assert loaded(arguments, components) == "[]"


def test_plan_imports_what_the_recipe_names_and_no_more() -> None:
    heavy = ("transformers", "datasets", "accelerate", "langadapt_vocab.subword", "langadapt_objectives.mlm")
    found = loaded(["plan", "--lang", "mr", "--recipe", "sbert-nli-sts"], heavy)
    assert found == "[]"
