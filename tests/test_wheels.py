"""Wheels of the core and every plugin, installed away from the checkout, find each other and their manifests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_every_package_of_the_core_is_listed() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    present = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "langadapt").rglob("__init__.py")}
    assert listed == present | {"langadapt.shipped.languages", "langadapt.shipped.recipes"}


def test_requirements_install_every_plugin() -> None:
    wanted = {f"-e plugins/{path.parent.name}" for path in (ROOT / "plugins").glob("*/pyproject.toml")}
    listed, apart = (set((ROOT / name).read_text().splitlines()) for name in ("requirements.txt", "requirements-dev.txt"))
    assert wanted <= listed | apart
    assert wanted - listed == {"-e plugins/mteb"}  # heavy, and its README says how to install it


@pytest.mark.slow
def test_wheels_find_manifests_and_plugins(tmp_path: Path) -> None:
    sources = [ROOT, *sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))]
    wheels, site, away = tmp_path / "wheels", tmp_path / "site", tmp_path / "away"
    away.mkdir()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "install", "--target", tmp_path / "tools", "setuptools>=77", "wheel"], check=True, capture_output=True)
    tools = {**os.environ, "PYTHONPATH": str(tmp_path / "tools")}  # one for all, in place of an environment for each of them
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", wheels, *sources]
    subprocess.run(build, check=True, capture_output=True, env=tools)
    subprocess.run([*pip, "install", "--no-deps", "--target", site, *wheels.glob("*.whl")], check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def langadapt(*arguments: str) -> str:
        done = subprocess.run([sys.executable, "-m", "langadapt", *arguments], cwd=away, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    languages = json.loads(langadapt("list", "languages", "--json"))["languages"]
    assert {"mr", "hi"} <= {row["name"] for row in languages}
    assert all(Path(row["file"]).is_relative_to(site) for row in languages)
    plugins = json.loads(langadapt("plugins", "--json"))
    assert len(plugins) == len(sources)
    assert not [plugin for plugin in plugins if plugin["problem"]]
    stages = json.loads(langadapt("plan", "--lang", "mr", "--recipe", "sbert-nli-sts", "--json"))["stages"]
    assert stages[-1]["do"] == "export"
    here = subprocess.run(
        [sys.executable, "-m", "langadapt", "plan", "--lang", "mr", "--recipe", "sbert-nli-sts", "--json"], capture_output=True, text=True
    )
    # The keys hold the fingerprint of the grammar's code and word lists: a wheel without them would plan something else.
    assert [stage["key"] for stage in json.loads(here.stdout)["stages"]] == [stage["key"] for stage in stages]
