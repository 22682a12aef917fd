"""The docs are tested: commands, YAML blocks, code blocks, links, and pages written from the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from langadapt.contracts import hooks
from langadapt.manifests import yaml
from langadapt.manifests.language import DomainManifest, LanguageManifest
from langadapt.manifests.parse import parse_manifest
from langadapt.manifests.recipe import RecipeManifest
from langadapt.registry.registry import Registry

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)


def test_readme_holds_the_two_commands() -> None:
    commands = re.findall(r"^    (pip install .*)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)
    assert commands == [
        "pip install -r requirements.txt && langadapt build --lang mr --recipe sbert-nli-sts",
        "pip install -r requirements-dev.txt && pytest",
    ]


@pytest.mark.parametrize("page", ["make_reference.py", "make_architecture.py"])
def test_pages_made_from_the_code_are_what_it_says(page: str) -> None:
    done = subprocess.run([sys.executable, ROOT / "docs" / page, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target


def test_yaml_blocks_are_valid_manifests() -> None:
    found = [(page, text) for page in PAGES for text in blocks(page, "yaml")]
    assert found
    for page, text in found:
        document = yaml.parse(text, str(page))
        model = LanguageManifest if "language" in document.data else DomainManifest if "domain" in document.data else RecipeManifest
        parse_manifest(model, document)


def test_the_plugin_of_the_how_to_works(tmp_path: Path) -> None:
    code = blocks(ROOT / "docs" / "howto" / "plugin.md", "python")[0]
    (tmp_path / "langadapt_persian.py").write_text(code, encoding="utf-8")
    script = (
        "from langadapt.registry.plugins import load_plugins; from langadapt.registry.registry import Registry;"
        "n = Registry(load_plugins(['langadapt_persian'])).build('normalizer', 'persian');"
        "t = '\\u0643\\u062a\\u0627\\u0628\\u064a'; assert n.normalize(t) == n.fast().normalize_str(t) != t"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    listed = subprocess.run(
        [sys.executable, "-m", "langadapt", "--plugin", "langadapt_persian", "list", "normalizer"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "persian" in listed.stdout


def test_every_hook_and_component_is_documented(registry: Registry) -> None:
    for name in dir(hooks):
        if name.startswith("langadapt_"):
            assert getattr(hooks, name).__doc__, name
    for item in registry.list():
        found = registry.get(item.ref.kind, item.ref.name)
        assert (found.__doc__ or "").strip(), item.ref
        assert item.ref.summary, item.ref


def test_the_project_speaks_of_itself_alone() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in files:
        path = ROOT / name
        if path.suffix in (".py", ".md", ".yaml", ".toml", ".txt") or name == "Makefile":
            assert not re.search(r"(?<![\w.])/(work|root|home|tmp)/\w", path.read_text(encoding="utf-8")), name


def test_the_domain_plugin_of_the_how_to_works(tmp_path: Path) -> None:
    page = ROOT / "docs" / "howto" / "domain.md"
    package = tmp_path / "langadapt_finance"
    (package / "domains").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "plugin.py").write_text(blocks(page, "python")[0], encoding="utf-8")
    (package / "domains" / "finance.yaml").write_text(blocks(page, "yaml")[0], encoding="utf-8")
    (tmp_path / "news.txt").write_text("$AAPL rose to 1,250 dollars\n", encoding="utf-8")
    for line in blocks(page, "bash")[0].splitlines():
        command = [str(Path(sys.executable).with_name("langadapt")), *line.split()[1:]]  # the script, as a reader would
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        assert done.returncode == 0, done.stderr
    assert "to run" in done.stdout
    script = (
        "from langadapt.registry.plugins import load_plugins; from langadapt.registry.registry import Registry;"
        "n = Registry(load_plugins(['langadapt_finance.plugin'])).build('normalizer', 'finance');"
        "t = '$AAPL rose to 1,250'; assert n.normalize(t) == n.fast().normalize_str(t) == 'AAPL rose to 1250'"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_contract_does_not_change_in_silence() -> None:
    """Whoever changes a contract or a hook renews the page ('make docs') and tells authors of plugins in the changelog what to do."""
    page = (ROOT / "docs" / "reference" / "contracts.md").read_text(encoding="utf-8")
    digest = re.search(r"^Digest: `([0-9a-f]{12})`$", page, re.MULTILINE)
    assert digest
    told = [ROOT / "CHANGELOG.md", *(ROOT / "changelog.d").glob("*.md")]
    named = [path.name for path in told if digest.group(1) in path.read_text(encoding="utf-8")]
    assert named, f"no fragment of changelog.d names contract {digest.group(1)}: say there what authors of plugins have to change"
