"""Values and refusals that one line decides, each by the value it must have."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.sparse import csr_array
from transformers import BertConfig, BertModel

from langadapt import Encoder
from langadapt.artifacts import adapter as adapters
from langadapt.artifacts import encoder as encoders
from langadapt.artifacts import scorer as scorers
from langadapt.artifacts.adapter import AdapterRecord, Base, card_facts, without_paths
from langadapt.artifacts.vocabulary import KEPT, Origins
from langadapt.contracts import Mixture
from langadapt.contracts.component import Context
from langadapt.data import fetch as fetching
from langadapt.data import labelled
from langadapt.data.parallel import read_pairs
from langadapt.errors import DataError, ManifestError, ModelError, PlanError, StageFailed
from langadapt.files import stamps
from langadapt.inference.by_role import ByRole
from langadapt.inference.opening import local_folder
from langadapt.inference.serving import WithAdapters
from langadapt.manifests import yaml
from langadapt.manifests.resource import HubSource, PathSource, Resource, Sources
from langadapt.modeling import surgery
from langadapt.modeling.checkpoint_folder import _config
from langadapt.modeling.pooling import Mean
from langadapt.modeling.precision import native_bf16
from langadapt.planning.chaining import chain
from langadapt.planning.pinning import pin_paths
from langadapt.planning.provenance import _short
from langadapt.planning.raw import RawStage
from langadapt.registry.imports import internal_imports
from langadapt.registry.plugins import Plugin
from langadapt.release.adapters import _facts
from langadapt.release.licences import remarks, tag
from langadapt.running.comparing import lines_of
from langadapt.running.failures import told
from langadapt.running.past import PastRun
from langadapt.running.publishing import tidy
from langadapt.running.reporting import _resources
from langadapt.training.checkpoints import _restore_moments
from langadapt.verbs.load.run import _reshaped
from langadapt.verbs.train.light import _parameters


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


class Said:
    """A log that keeps warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def info(self, text: str) -> None:
        pass


def test_columns_without_names_are_said_once(tmp_path: Path) -> None:
    file = tmp_path / "words.tsv"
    file.write_text("house\tetxe\nriver\tibai\nroad\tbide\n", encoding="utf-8")
    log = Said()
    resource = Resource(name="dictionary", format="parallel", sources=Sources(path=PathSource(paths=[str(file)])))
    resource = resource.model_copy(update={"pinned": pin_paths(resource, (file,), "here")})
    found = list(read_pairs(resource, Context(log=log)))  # type: ignore[arg-type]
    assert len(found) == 2
    assert len(log.warnings) == 1


def test_three_parts_are_a_folder_and_not_a_hub_id(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The Hub's names have two parts: a typing error is told at once, without a network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("the Hub was asked"))
    with pytest.raises(ModelError, match="no such folder"):
        local_folder("runs/mr/release")


@pytest.mark.parametrize("role", ["../elsewhere", "a/b", ".hidden"])
def test_roles_lie_in_their_adapter(tmp_path: Path, role: str) -> None:
    record = AdapterRecord({"use": "lora"}, "peft", Base("d", "bert", 1), 1, roles=(role,))
    adapters.save(record, tmp_path)
    with pytest.raises(ModelError, match="outside its own"):
        adapters.load(tmp_path)


def chained(before: str, after: str) -> list[RawStage]:
    """Two recipes of stages written in YAML, one behind the other."""
    stages = []
    for recipe, text in (("one", before), ("two", after)):
        document = yaml.parse(f"stages: {text}", f"{recipe}.yaml")
        stages.append([RawStage(name, dict(data), document, ("stages", name), recipe) for name, data in document.data["stages"].items()])
    return chain(*stages)


def test_a_chained_recipe_begins_with_what_was_released() -> None:
    before = "{base: {do: load, source: $lang.encoder}, mlm: {do: train, encoder: base}, release: {do: export, encoder: mlm}}"
    found = chained(before, "{base: {do: load, source: $lang.encoder, layers: 6}, sts: {do: train, encoder: base}}")
    assert [stage.name for stage in found] == ["base", "mlm", "release", "two.base", "sts"]
    assert found[3].data == {"do": "load", "layers": "6", "encoder": "mlm"}
    assert found[4].data["encoder"] == "two.base"
    with pytest.raises(PlanError, match="recipe 'one' exports nothing"):
        chained("{base: {do: load, source: $lang.encoder}}", "{sts: {do: load, source: $lang.encoder}}")


def test_files_of_git_are_known_by_gits_digest(tmp_path: Path) -> None:
    """What ``git hash-object`` says of the same bytes."""
    (tmp_path / "file").write_bytes(b"hello\n")
    assert fetching._git_digest(tmp_path / "file") == "ce013625030ba8dba906f756967f9e9ca394464a"


def past(stages: dict[str, Any], events: list[dict[str, Any]], path: Path = Path()) -> PastRun:
    return PastRun(path=path, title="x", seed=1, versions={}, sources={}, stages=stages, events=tuple(events))


def test_what_a_run_of_the_past_came_to() -> None:
    begun = {"event": "build_start"}
    assert past({}, []).state() == "unfinished"
    assert past({}, [begun, {"event": "stage_end", "outcome": "done"}]).state() == "unfinished"
    assert past({}, [begun, {"event": "stage_end", "outcome": "failed"}]).state() == "failed"
    assert past({}, [begun, {"event": "stage_end", "outcome": "aborted"}]).state() == "unfinished"
    assert past({}, [begun, {"event": "build_end"}]).state() == "done"
    assert past({}, [{"event": "build_end"}, begun]).state() == "unfinished"


def test_what_a_run_released() -> None:
    export = {"key": "0", "identity": {"do": "export", "inputs": {"encoder": ["b"]}}}
    stages = {
        name: {"key": key, "identity": {"do": "train", "inputs": {}}} for name, key in (("first", "a"), ("second", "b"), ("third", "c"))
    }
    assert past({**stages, "release": export}, []).released == "second"
    assert past(stages, []).released is None


def test_a_comparison_without_scores_says_so() -> None:
    found = {"scores": {"a": [], "b": []}, "plans": {}, "costs": {}}
    assert lines_of(found)[0] == "No scores lie in these run folders."


def test_damaged_weights_of_a_pooler_are_refused(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    loaded = encoders.load(tiny, mlm_head=False)
    encoders.save(loaded, folder)
    (folder / encoders.EMBEDDING).write_bytes(b"no tensors")
    with pytest.raises(ModelError):
        encoders.load(folder, mlm_head=False)


def test_log_probabilities_of_all_tokens_for_more_than_one_batch(tiny: Path, tmp_path: Path) -> None:
    encoders.save(encoders.load(tiny, mlm_head=True), tmp_path / "base")
    encoder = Encoder.load(tmp_path / "base", device="cpu", mlm_head=True)
    ids = encoder.tokenizer(["नदी वाहते", "मुले मैदानात खेळत आहेत आज", "गाव"])["input_ids"]
    places = [[1, 2], [1], [1]]
    whole = encoder.masked_log_probabilities(ids, places, None, batch_tokens=4096)
    each = encoder.masked_log_probabilities(ids, places, None, batch_tokens=1)
    assert whole.shape == (4, whole.shape[1])
    assert np.abs(whole - each).max() < 1e-4
    assert np.abs(np.exp(each).sum(1) - 1).max() < 1e-3


def test_origins_of_rows_with_many_sources() -> None:
    """The heaviest are named, the others counted with their weight; a row that is no mixture has none, and those behind it keep theirs."""
    count = KEPT + 3
    shares = np.zeros((3, count), dtype=np.float32)
    shares[1] = np.arange(count, 0, -1)
    shares[2, 4] = 1.0
    mixture = Mixture(csr_array(shares), ["random", "mean", "copied"], rows={0: np.ones(2, np.float32)})
    old = [f"piece{i}" for i in range(count)]
    found = Origins.of(mixture, old, "test")
    assert found.sources[0] == []
    assert [name for name, _ in found.sources[1]] == old[:KEPT]
    assert found.rest == {1: (3, 6.0)}
    assert found.sources[2] == [("piece4", 1.0)]


@pytest.mark.parametrize("name", ["adapter.json", "scorer.json"])
def test_malformed_records_name_what_is_wrong(tiny: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "folder"
    if name == "scorer.json":
        torch.manual_seed(0)
        scorers.save(scorers.load(tiny, max_length=32), folder)
        change = {"max_length": "many"}
    else:
        folder.mkdir()
        adapters.save(AdapterRecord({"use": "lora"}, "peft", Base("d", "bert", 1), 1), folder)
        change = {"parameters": "many"}
    stated = json.loads((folder / name).read_text(encoding="utf-8"))
    (folder / name).write_text(json.dumps({**stated, **change}), encoding="utf-8")
    with pytest.raises(ModelError, match=next(iter(change))) as refused:
        (scorers if name == "scorer.json" else adapters).load(folder)
    assert refused.value.where == str(folder / name)


def test_what_a_killed_build_left_in_its_folder_goes(tmp_path: Path) -> None:
    (tmp_path / ".release-123" / "inner").mkdir(parents=True)
    (tmp_path / ".release-456").write_text("x", encoding="utf-8")
    (tmp_path / "mine.txt").write_text("x", encoding="utf-8")
    tidy(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == ["mine.txt"]


@pytest.mark.parametrize("history", [None, {"steps": 7}])
def test_an_adapter_released_alone_tells_how_it_was_trained(tmp_path: Path, history: dict[str, int] | None) -> None:
    record = AdapterRecord({"use": "lora"}, "peft", Base("d", "bert", 1), 1)
    if history:
        (tmp_path / "training.json").write_text(json.dumps(history), encoding="utf-8")
    assert _facts(tmp_path, record)["trained"] == (history or {})


def test_moments_come_back_as_what_they_were() -> None:
    """Tensors as tensors, whole numbers as whole numbers, nested ones where they were."""
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], 0.1)
    saved = {"0.exp_avg": torch.full((3,), 2.0), "0.count:int": torch.tensor(5), "0.more/inner": torch.tensor([1.5])}
    _restore_moments(optimizer, saved)
    state = optimizer.state_dict()["state"][0]
    assert torch.equal(state["exp_avg"], saved["0.exp_avg"])
    assert state["count"] == 5
    assert not isinstance(state["count"], torch.Tensor)
    assert torch.equal(state["more"]["inner"], saved["0.more/inner"])


def test_a_missing_manifest_says_so(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot read the manifest: No such file or directory"):
        yaml.load(tmp_path / "nothing.yaml")


@pytest.mark.parametrize(("flags", "native"), [("fpu avx2", False), ("fpu avx512_bf16", True), ("amx_bf16", True), (None, False)])
def test_bf16_is_native_where_the_processor_says_so(monkeypatch: pytest.MonkeyPatch, flags: str | None, native: bool) -> None:
    def read(*_: Any, **__: Any) -> str:
        if flags is None:
            raise FileNotFoundError("/proc/cpuinfo")
        return flags

    monkeypatch.setattr("langadapt.modeling.precision.Path.read_text", read)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert native_bf16.__wrapped__() is native


def test_a_graphics_card_is_asked_once_torch_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: True)
    monkeypatch.setattr("langadapt.modeling.precision.Path.exists", lambda _: False)
    monkeypatch.setattr("langadapt.modeling.precision.Path.read_text", lambda *_, **__: "fpu")
    assert native_bf16.__wrapped__() is True


@pytest.mark.parametrize("layers", [None, 1])
def test_random_weights_keep_the_layers_or_have_those_asked_for(tiny: Path, layers: int | None) -> None:
    loaded = encoders.load(tiny, mlm_head=False)
    before = loaded.model.config.num_hidden_layers
    job: Any = SimpleNamespace(stage=SimpleNamespace(weights="random", layers=layers), ctx=Context())
    assert before > 1
    assert _reshaped(loaded, tiny, job).model.config.num_hidden_layers == (layers or before)


def test_weights_are_counted_scalars_too(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3, 4), "b": torch.zeros(())}, str(tmp_path / "model.safetensors"))
    assert _parameters(tmp_path) == 13


def test_an_encoder_by_role_reads_as_its_first_role_unless_told(tiny: Path) -> None:
    loaded = encoders.load(tiny, mlm_head=False)
    active: list[str] = []
    encoder = ByRole(loaded, loaded.module(Mean()).eval(), None, ("query", "document"), active.append)
    encoder.encode(["one"])
    encoder.encode(["one"], adapter="document")
    assert active == ["query", "document"]
    with pytest.raises(ModelError, match="no adapter 'other'"):
        encoder.encode(["one"], adapter="other")


def test_a_report_names_files_without_their_folders_and_packages_by_name() -> None:
    def resource(name: str, paths: list[str], label: str) -> Any:
        pinned = SimpleNamespace(paths=[Path(path) for path in paths], label=label)
        return SimpleNamespace(name=name, pinned=pinned, licence="MIT", origin="somewhere")

    stage = SimpleNamespace(resources=lambda: [resource("nli", ["/a/nli.tsv", "/a/more.tsv"], "x"), resource("base", [], "starter e5")])
    found = _resources(SimpleNamespace(stages=[stage]))  # type: ignore[arg-type]
    assert [row["from"] for row in found] == ["nli.tsv, more.tsv", "starter e5"]
