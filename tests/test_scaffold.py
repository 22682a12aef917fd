"""New packages as ``langadapt new`` leaves them: they pass their own tests, install from wheels, and are used in a build."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from langadapt.cli.new import KINDS
from langadapt.contracts import KINDS as CONTRACTS
from langadapt.testing import sample

Run = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).resolve().parents[1]
ALL = [f"--kind={kind}" for kind in KINDS.split()]


def test_every_kind_can_be_begun() -> None:
    assert KINDS.split() == sorted(CONTRACTS)


def _python(folder: Path, *line: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1", **more}
    return subprocess.run([sys.executable, "-m", *line], cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kinds", [("normalizer", "pooler", "objective"), pytest.param(KINDS.split(), marks=pytest.mark.slow)], ids=len)
def test_a_new_plugin_passes_its_tests(run: Run, tmp_path: Path, kinds: tuple[str, ...]) -> None:
    done = run("new", "plugin", "my-own", *(f"--kind={kind}" for kind in kinds))
    assert done.returncode == 0, done.stderr
    assert "pip install -e 'langadapt-my-own[test]'" in done.stdout
    folder = tmp_path / "langadapt-my-own"
    tested = _python(folder, "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", PYTHONPATH=f"{folder / 'src'}{os.pathsep}{ROOT}")
    assert tested.returncode == 0, tested.stdout[-3000:]
    assert " passed" in tested.stdout
    done = _python(folder, "ruff", "check", "--isolated", "--select", "E,F,UP,B", "--line-length", "140", ".")
    assert done.returncode == 0, done.stdout
    if len(kinds) > 3:
        done = _python(folder, "mypy", "--strict", "--no-incremental", "src", PYTHONPATH=str(ROOT), MYPYPATH=str(ROOT))
        assert done.returncode == 0, done.stdout


def test_names_kinds_and_folders_that_cannot_be(run: Run, tmp_path: Path) -> None:
    (tmp_path / "langadapt-taken").mkdir()
    for arguments, said in (
        (("plugin", "My_Own", "--kind=pooler"), "no name of a package"),
        (("plugin", "objectives", "--kind=pooler"), "a package langadapt-objectives"),
        (("plugin", "mine", "--kind=poolr"), "there is no kind 'poolr'"),
        (("plugin", "mine"), "--kind"),
        (("plugin", "taken", "--kind=pooler"), "stands there already"),
        (("recipe", "../out"), "no name of a package"),
        (("recipe", "mine", "-o", "/proc/nothing/here"), "cannot be written"),
    ):
        done = run("new", *arguments)
        assert done.returncode == 2, arguments
        assert said in done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.is_dir() and path.name != "store"] == ["langadapt-taken"]


@pytest.mark.slow
def test_wheels_in_a_fresh_environment(run: Run, tiny: Path, tmp_path: Path) -> None:
    """Both packages beside langadapt's wheels and nothing of this checkout: their tests pass, and a build uses the plugin."""
    for line in (("plugin", "my-own", *ALL), ("recipe", "my-recipe")):
        assert run("new", *line).returncode == 0
    plugins = sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))
    packages = [tmp_path / "langadapt-my-own", tmp_path / "langadapt-my-recipe"]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path / "wheels", ROOT, *plugins, *packages], check=True)
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", site, *(tmp_path / "wheels").glob("*.whl")], check=True)
    for package in packages:
        done = _python(package, "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests", PYTHONPATH=str(site))
        assert done.returncode == 0, done.stdout[-3000:]
    done = _python(tmp_path, "langadapt", "check", "--json", PYTHONPATH=str(site))
    assert '"problems": []' in done.stdout, done.stdout
    recipe = """recipe: look
summary: The new plugin in a build.
stages:
  base:    {do: load, source: $lang.encoder, pooler: my-own, max_length: 32}
  pairs:   {do: pair, source: {use: my-own, data: $lang.dictionary}, normalizer: my-own, selectors: [my-own]}
  tuned:
    {do: train, encoder: base, data: pairs, objective: my-own, adaptation: my-own, optimizer: my-own, schedule: my-own, sampler: my-own,
     steps: 3, batch_size: 8, precision: fp32}
  merged:  {do: merge, encoders: [base, tuned], merger: my-own}
  whole:   {do: fit-transform, encoder: merged, data: pairs, transform: my-own}
  scores:  {do: evaluate, encoders: [base, tuned], evaluators: {use: my-own, data: $lang.sts-test}}
  release: {do: export, encoder: tuned, scores: scores, exporters: [my-own]}
"""
    (tmp_path / "look.yaml").write_text(recipe, encoding="utf-8")
    files = {"dictionary": sample("parallel"), "sts-test": sample("sts")}
    given = [f"--resource={name}={one.sources.path.paths[0]}" for name, one in files.items() if one.sources.path]
    where = [f"--store={tmp_path / 'other'}", f"--out={tmp_path / 'run'}", "--device=cpu", "--quiet", f"--base={tiny}"]
    done = _python(tmp_path, "langadapt", "build", "--lang", "mr", "--recipe", "look.yaml", *given, *where, PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "release" / "facts.json").is_file()
