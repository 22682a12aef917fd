"""Values and refusals that one line decides, each by the value it must have."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import BertConfig, BertModel

from langadapt.artifacts.adapter import AdapterRecord, Base, card_facts, without_paths
from langadapt.contracts.component import Context
from langadapt.data import labelled
from langadapt.errors import DataError, ModelError, StageFailed
from langadapt.files import stamps
from langadapt.inference.serving import WithAdapters
from langadapt.manifests.resource import HubSource, PathSource, Resource, Sources
from langadapt.modeling import surgery
from langadapt.modeling.checkpoint_folder import _config
from langadapt.planning.pinning import pin_paths
from langadapt.planning.provenance import _short
from langadapt.registry.imports import internal_imports
from langadapt.registry.plugins import Plugin
from langadapt.release.licences import remarks, tag
from langadapt.running.failures import told


def test_hidden_files_and_folders_are_not_stamped(tmp_path: Path) -> None:
    for name in ("a/one.txt", "a/.b/two.txt", ".c/three.txt", "a/.four.txt", "d/e/five.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x", encoding="utf-8")
    assert [name for name, _ in stamps(tmp_path)] == ["a/one.txt", "d/e/five.txt"]
    assert [name for name, _ in stamps(tmp_path / "a" / "one.txt")] == [""]


@pytest.mark.parametrize(
    ("licences", "words"),
    [
        (["MIT"], []),
        (["CC BY-NC 4.0"], ["non-commercial"]),
        (["MIT", "not stated"], ["states no licence"]),
        (["CC BY-SA 4.0"], ["share-alike"]),
        (["CC BY-NC-SA 4.0", "not stated"], ["non-commercial", "states no licence", "share-alike"]),
    ],
)
def test_what_a_card_says_of_licences(licences: list[str], words: list[str]) -> None:
    said = remarks(licences)
    assert len(said) == len(words)
    assert all(word in line for word, line in zip(words, said, strict=True))
    assert tag(["MIT"]) == "mit"
    assert tag(["MIT", "CC BY-NC 4.0"]) == "other"


def test_files_of_texts_and_of_pairs_are_not_one_set(tmp_path: Path) -> None:
    (tmp_path / "one.tsv").write_text("text\tlabel\na\tx\n", encoding="utf-8")
    (tmp_path / "two.tsv").write_text("sentence1\tsentence2\tlabel\na\tb\tx\n", encoding="utf-8")

    def resource(*names: str) -> Resource:
        paths = tuple(tmp_path / name for name in names)
        found = Resource(name="rows", format="classification", sources=Sources(path=PathSource(paths=[str(path) for path in paths])))
        return found.model_copy(update={"pinned": pin_paths(found, paths, "here")})

    assert labelled.read(resource("one.tsv"), Context()).texts == [("a",)]
    assert labelled.read(resource("two.tsv"), Context()).texts == [("a", "b")]
    with pytest.raises(DataError, match="some files hold single texts and others pairs"):
        labelled.read(resource("one.tsv", "two.tsv"), Context())


def test_a_resource_comes_from_somewhere() -> None:
    assert Sources(hub=HubSource(id="a/b")).path is None
    assert Sources(path=PathSource(paths=["x"])).hub is None
    assert Sources(starter={"use": "x"}).hub is None
    with pytest.raises(ValueError, match="at least one of starter, hub, path"):
        Sources()


@pytest.mark.parametrize(("stated", "said"), [(0, 0), (1, 1), (2, 1)])
def test_a_config_that_names_another_mask(stated: int, said: int) -> None:
    """Ids below the tokenizer's own and above it alike."""
    model = BertModel(BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8))
    model.config.mask_token_id = {0: 3, 1: 2, 2: 4}[stated]
    tokenizer: Any = SimpleNamespace(cls_token_id=None, sep_token_id=None, bos_token_id=None, eos_token_id=None, mask_token_id=3)
    assert len(surgery.disagreements(tokenizer, model)) == said


@pytest.mark.parametrize("method", ["awq", "gptq", "bitsandbytes", None])
def test_only_one_form_of_quantised_weights(method: str | None, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    given = {"quant_method": method} if method else {}
    value = {"model_type": "bert", "quantization_config": {**given, "load_in_8bit": True}}
    path.write_text(json.dumps(value), encoding="utf-8")
    if method in ("awq", "gptq"):
        with pytest.raises(ModelError, match=f"quantised by '{method}'"):
            _config(path)
    else:
        _config(path)


def test_roles_of_an_encoder() -> None:
    encoder = WithAdapters(SimpleNamespace())  # type: ignore[arg-type]
    assert encoder.role("query") is None
    encoder.default_adapter = "mine"
    assert encoder.role("query") == "mine"
    encoder.roles = ("query", "document")
    assert (encoder.role("query"), encoder.role("document"), encoder.role("other")) == ("query", "document", "mine")


def test_what_a_broken_stage_says() -> None:
    """Ctrl-C passes through as it is, our own errors name the stage, all others become one that does."""
    stage: Any = SimpleNamespace(name="scores", slots={})
    stop = KeyboardInterrupt()
    assert told(stop, stage) is stop
    known = DataError("no rows", where="x.tsv:3")
    assert told(known, stage) is known
    assert str(known) == "x.tsv:3: stage 'scores': no rows"
    try:
        raise ZeroDivisionError("by nothing")
    except ZeroDivisionError as error:
        found = told(error, stage)
    assert isinstance(found, StageFailed)
    assert "stage 'scores' failed: ZeroDivisionError: by nothing" in found.what
    assert str(found.where).startswith(__file__)


def test_adapters_that_a_release_stands_on_are_named_without_their_folders() -> None:
    """Also those inside the parts of a hybrid."""
    first = {"use": "stack", "over": ["/somebody/a1", "b2"]}
    slot = {"use": "semi-siamese-hybrid", "first": first, "over": "/somebody/run/adapter", "then": {"use": "lora", "r": 4}}
    record = AdapterRecord(slot, "adapters", Base("0" * 64, "bert", 1), 1)
    found = without_paths(record).adaptation
    assert found == {**slot, "first": {"use": "stack", "over": ["a1", "b2"]}, "over": "adapter"}
    assert record.adaptation == slot


@pytest.mark.parametrize(
    ("files", "parts"),
    [
        (
            ["first/query/adapter_model", "first/document/adapter_model", "then/query/adapter"],
            "first/query then/query",
        ),
        (["first/query/adapter", "first/document/adapter", "then/adapter_model"], "then first/query"),
        (["query/adapter", "document/adapter"], ""),
        (["adapter_model"], ""),
    ],
)
def test_the_parts_of_a_hybrid(files: list[str], parts: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.safetensors").touch()
    record = AdapterRecord({"use": "x"}, "adapters", Base("0" * 64, "bert", 1), 1)
    found = card_facts(record, "", False, tmp_path)["parts"]
    assert " ".join(found[library] for library in ("peft", "adapters") if library in found) == parts


def test_a_path_is_told_by_its_end() -> None:
    assert _short(Path("/data/marathi/nli.tsv")) == "marathi/nli.tsv"
    assert _short(Path("nli.tsv")) == "nli.tsv"


def test_internals_that_a_plugin_imports_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every file of its package, or in a module that is a file alone; relative and public ones are let pass."""
    package = tmp_path / "some_plugin"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("from langadapt.contracts import Pooler\n", encoding="utf-8")
    (package / "inner" / "deep.py").write_text("import os\n\n\nfrom langadapt.store import Store\nfrom . import x\n", encoding="utf-8")
    (tmp_path / "lone_plugin.py").write_text("import langadapt.running.build\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    (found,) = internal_imports(Plugin("some", module="some_plugin.plugin"))
    assert "imports langadapt.store" in found.what
    assert found.where == f"{package / 'inner' / 'deep.py'}:4"
    (alone,) = internal_imports(Plugin("lone", module="lone_plugin"))
    assert alone.where == f"{tmp_path / 'lone_plugin.py'}:1"
    assert internal_imports(Plugin("some", module="some_plugin.plugin", problem="broken")) == []
    for name in ("some_plugin", "lone_plugin"):
        sys.modules.pop(name, None)
