"""A plugin of somebody else's, outside the tree, beside langadapt's wheels: typed, held to the laws, and used in a build."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from langadapt.testing.toys import TEXTS

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of the core, its plugins and the example installed; the example's source lies beside it, alone."""
    folder = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(ROOT / "tests" / "third_party", folder / "example")
    plugins = sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", folder / "wheels", ROOT, *plugins, folder / "example"], check=True)
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", *(folder / "wheels").glob("*.whl")], check=True)
    return folder / "site"


def run(site: Path, *line: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), "MYPYPATH": str(site), "HF_HUB_OFFLINE": "1"}
    place = site.parent / "example"
    return subprocess.run([sys.executable, "-m", *map(str, line)], cwd=place, env=environment, capture_output=True, text=True, check=False)


def test_its_types_are_clean(site: Path) -> None:
    done = run(site, "mypy", "--strict", "--no-incremental", "src/langadapt_example")
    assert done.returncode == 0, done.stdout


def test_check_finds_no_import_of_internals(site: Path) -> None:
    done = run(site, "langadapt", "check", "--json")
    told = json.loads(done.stdout)
    assert told["problems"] == []
    assert any(row["name"] == "example" for row in json.loads(run(site, "langadapt", "plugins", "--json").stdout))


def test_its_own_tests_pass(site: Path) -> None:
    done = run(site, "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests")
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout


def test_a_build_uses_all_three(site: Path, tiny: Path, tmp_path: Path) -> None:
    pairs = "".join(f"{text}\t{TEXTS[(i + 3) % len(TEXTS)]}\n" for i, text in enumerate(TEXTS))
    (tmp_path / "pairs.tsv").write_text(f"question\tanswer\n{pairs}", encoding="utf-8")
    scored = "".join(f"{text}\t{TEXTS[(i + 3) % len(TEXTS)]}\t{i % 6}\n" for i, text in enumerate(TEXTS))
    (tmp_path / "sts.tsv").write_text(f"sentence1\tsentence2\tscore\n{scored}", encoding="utf-8")
    files = [f"--resource=pairs={tmp_path / 'pairs.tsv'}", f"--resource=sts-test={tmp_path / 'sts.tsv'}", f"--base={tiny}"]
    where = [f"--store={tmp_path / 'store'}", f"--out={tmp_path / 'run'}", "--device=cpu", "--quiet"]
    done = run(site, "langadapt", "build", "--lang", "mr", "--recipe", "recipe.yaml", *files, *where)
    assert done.returncode == 0, done.stderr
    assert "length correlation" in done.stdout
    settings = json.loads((tmp_path / "run" / "release" / "encoder.json").read_text())
    assert settings["pooler"] == {"use": "mean-and-max"}
