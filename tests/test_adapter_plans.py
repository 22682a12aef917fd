"""Light adaptations that cannot work are refused: by the plan where it can tell, else by the stage, and nothing is half-written."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from langadapt.contracts.plan import Request
from langadapt.errors import LangadaptError, ModelError, PlanError, RegistryError
from langadapt.planning.compile import compile_plan
from langadapt.planning.request import overrides
from langadapt.registry.catalog import Catalog
from langadapt.registry.registry import Registry
from langadapt.running.build import build

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore::UserWarning")]

Run = Callable[..., "subprocess.CompletedProcess[str]"]

ROWS = [(f"What is {word}?", f"It is what people call {word}.") for word in ("rain", "bread", "a river", "salt", "a horse", "wool")]


@pytest.fixture
def request_for(tiny: Path, tmp_path: Path) -> Callable[..., Request]:
    """A request to build stages on the small encoder with six pairs."""
    (tmp_path / "pairs.tsv").write_text("query\tpassage\n" + "".join(f"{a}\t{b}\n" for a, b in ROWS), encoding="utf-8")

    def make(*stages: str, sets: tuple[str, ...] = (), base: Path = tiny) -> Request:
        fixed = (
            "base: {do: load, source: $lang.encoder, max_length: 32}",
            "pairs: {do: pair, source: {use: retrieval, data: $lang.pairs}}",
        )
        lines = "".join(f"  {stage}\n" for stage in (*fixed, *stages))
        (tmp_path / "r.yaml").write_text(f"recipe: r\nsummary: x\nstages:\n{lines}", encoding="utf-8")
        return Request(
            (str(tmp_path / "r.yaml"),), "en", None, overrides(sets), base=str(base), resources={"pairs": (str(tmp_path / "pairs.tsv"),)}
        )

    return make


def train(adaptation: str, name: str = "adapter", encoder: str = "base") -> str:
    """A stage of two steps."""
    short = "steps: 2, batch_size: 3, learning_rate: 1e-3, precision: fp32"
    return f"{name}: {{do: train, encoder: {encoder}, data: pairs, objective: multiple-negatives, adaptation: {adaptation}, {short}}}"


def export(encoder: str, *exporters: str) -> str:
    return f"release: {{do: export, encoder: {encoder}, exporters: [{', '.join(exporters)}]}}"


@pytest.fixture
def refused(registry: Registry, catalog: Catalog, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Compiling raises one error that names the recipe's line; at the end nothing was written."""

    def check(request: Request, line: int, *parts: str, kind: type[LangadaptError] = PlanError) -> None:
        with pytest.raises(kind) as caught:
            compile_plan(request, registry, catalog)
        assert str(caught.value.where).startswith(f"{tmp_path / 'r.yaml'}:{line} (stages.")
        assert "\n" not in str(caught.value)
        for part in parts:
            assert part in str(caught.value), f"{part!r} not in: {caught.value}"

    yield check
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs.tsv", "r.yaml"]


# the plan --------------------------------------------------------------------------------------------------------------


@pytest.mark.adapters
@pytest.mark.parametrize("adaptation", ["bottleneck", "prefix", "semi-siamese"])
@pytest.mark.parametrize("exporter", ["sentence-transformers", "transformers"])
def test_what_cannot_be_merged_is_no_plain_model(
    request_for: Callable[..., Request], refused: Callable[..., None], adaptation: str, exporter: str
) -> None:
    request = request_for(train(adaptation), export("adapter", exporter))
    refused(request, 7, "needs the whole weights of 'adapter'", f"'{adaptation}' cannot be merged into its base", "exporters: [adapter]")


@pytest.mark.adapters
@pytest.mark.parametrize(
    "stage",
    [
        "next: {do: load, encoder: adapter}",
        "next: {do: fit-transform, encoder: adapter, data: pairs, transform: whitening}",
    ],
)
def test_what_cannot_be_merged_goes_nowhere_as_a_whole(
    request_for: Callable[..., Request], refused: Callable[..., None], stage: str
) -> None:
    refused(
        request_for(train("bottleneck"), stage), 7, "stage 'next' needs the whole weights of 'adapter'", "train LoRA, which can be merged"
    )


@pytest.mark.parametrize("adaptation", ["lora", "ia3", "{use: lora, dora: true}", "qlora-8bit", "qlora-4bit"])
def test_what_can_be_merged_goes_everywhere(
    request_for: Callable[..., Request], registry: Registry, catalog: Catalog, adaptation: str
) -> None:
    again = train("full", "more", "whole")
    stages = (train(adaptation), "whole: {do: load, encoder: adapter}", again, export("adapter", "sentence-transformers"))
    plan = compile_plan(request_for(*stages), registry, catalog)
    assert [stage.name for stage in plan.stages if stage.light()] == ["adapter"]


@pytest.mark.adapters
def test_an_adapter_is_trained_on_with_the_same_adaptation(
    request_for: Callable[..., Request], refused: Callable[..., None], registry: Registry, catalog: Catalog
) -> None:
    for other in ("bottleneck", "full", "{use: lora, r: 4}"):
        message = "'adapter' carries an adapter of 'lora', and this stage trains "
        refused(request_for(train("lora"), train(other, "more", "adapter")), 7, message, "Continue with the same adaptation and options")
    plan = compile_plan(request_for(train("lora"), train("{use: lora, r: 8}", "more", "adapter")), registry, catalog)
    assert plan.stage("more").light()


def test_an_adapter_is_released_where_there_is_one(request_for: Callable[..., Request], refused: Callable[..., None]) -> None:
    for adaptation in ("full", "freeze"):
        request = request_for(train(adaptation), export("adapter", "adapter"))
        refused(
            request, 7, "the exporter 'adapter' writes an adapter alone, but 'adapter' has trained none", "export 'sentence-transformers'"
        )


def test_an_adapter_alone_is_released_alone(request_for: Callable[..., Request], refused: Callable[..., None]) -> None:
    """Found out by the plan, not after the training."""
    request = request_for(train("lora"), export("adapter", "sentence-transformers", "adapter"))
    refused(request, 7, "the exporter 'adapter' writes an adapter alone, and 'sentence-transformers' whole weights")


@pytest.mark.adapters
@pytest.mark.parametrize(
    ("adaptation", "parts"),
    [
        ("bottelneck", ["there is no adaptation 'bottelneck'", "Did you mean 'bottleneck'?"]),
        ("{use: lora, rank: 8}", ["adaptation 'lora' has no option 'rank'"]),
        ("{use: lora, r: 0}", ["adaptation 'lora': 'r' is '0'", "greater than or equal to 1"]),
        ("{use: lora, dropout: 1}", ["adaptation 'lora': 'dropout' is '1'", "less than 1"]),
        ("{use: bottleneck, form: seq}", ["adaptation 'bottleneck': 'form' is 'seq'", "'double_seq_bn'"]),
        ("{use: bottleneck, reduction_factor: 0.5}", ["'reduction_factor' is '0.5'", "greater than or equal to 1"]),
        ("stack", ["adaptation 'stack' needs the option 'over'"]),
        ("{use: fuse, over: [a]}", ["adaptation 'fuse': 'over' is ['a']", "at least 2 items"]),
        ("{use: average, over: [a, b], weights: [1]}", ["1 weights for 2 adapters"]),
        ("{use: average, over: [a, b], weights: [1, -1]}", ["the weights sum to 0"]),
    ],
)
def test_options_that_are_none(
    request_for: Callable[..., Request], refused: Callable[..., None], adaptation: str, parts: list[str]
) -> None:
    refused(request_for(train(adaptation), export("adapter", "adapter")), 6, *parts, kind=RegistryError)


@pytest.mark.adapters
def test_the_command_refuses_before_anything_is_written(run: Run, tiny: Path, request_for: Callable[..., Request], tmp_path: Path) -> None:
    """And without its plugin a recipe names what is missing."""
    request = request_for(train("bottleneck"), export("adapter", "sentence-transformers"))
    arguments = [
        "build",
        "--lang",
        "en",
        "--recipe",
        request.recipes[0],
        "--base",
        tiny,
        "--resource",
        f"pairs={request.resources['pairs'][0]}",
        "--out",
        "out",
    ]
    done = run(*arguments)
    assert done.returncode == 2
    assert "r.yaml:7 (stages.release.exporters): stage 'release' needs the whole weights of 'adapter'" in done.stderr
    done = run(*arguments, env={"LANGADAPT_PLUGINS": "data,objectives,exporters"})
    assert done.returncode == 2
    assert "there is no adaptation 'bottleneck'" in done.stderr
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "store").exists()


# what the base alone can tell ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unknown(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder of an architecture that no table knows."""
    from tokenizers import Tokenizer
    from transformers import MegatronBertConfig, MegatronBertModel

    folder: Path = tmp_path_factory.mktemp("megatron")
    for name in (*tiny.glob("tokenizer*"), *tiny.glob("special_tokens_map.json")):  # transformers 5 writes no map
        shutil.copy(name, folder)
    size = Tokenizer.from_file(str(tiny / "tokenizer.json")).get_vocab_size()
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    MegatronBertModel(MegatronBertConfig(vocab_size=size, **sizes), add_pooling_layer=False).save_pretrained(folder)
    return folder


def left_in(store: Path) -> list[str]:
    """Verbs of the store's artifacts; every artifact is whole and no stage left scratch files."""
    assert not list(store.glob("partial/*/staging"))
    assert all((folder / "artifact.json").is_file() for folder in store.glob("objects/*"))
    return sorted(_verb(path) for path in store.glob("objects/*/artifact.json"))


def _verb(path: Path) -> str:
    import json

    return str(json.loads(path.read_text(encoding="utf-8"))["do"])


def stopped(request: Request, folder: Path, *parts: str) -> None:
    """The training stage ends the build with this, and the stages before it stay."""
    with pytest.raises(ModelError) as caught:
        build(request, store=folder / "store", out=folder / "out", quiet=True, device="cpu")
    assert caught.value.what.startswith("stage 'adapter': ")
    for part in parts:
        assert part in str(caught.value), f"{part!r} not in: {caught.value}"
    assert left_in(folder / "store") == ["load", "pair"]
    assert not (folder / "out" / "release").exists()


@pytest.mark.adapters
def test_an_architecture_without_known_layers(request_for: Callable[..., Request], unknown: Path, tmp_path: Path) -> None:
    """The message says which names there are, and naming some of them is enough."""
    stages: Any = lambda adaptation: (train(adaptation), export("adapter", "adapter"))  # noqa: E731
    message = "which layers of the architecture 'megatron-bert' to adapt is not known"
    stopped(
        request_for(*stages("lora"), base=unknown), tmp_path, message, "Name them with the option 'targets'", "dense, key, query, value"
    )
    stopped(request_for(*stages("ia3"), base=unknown), tmp_path, message)
    stopped(request_for(*stages("bottleneck"), base=unknown), tmp_path, "no way to put adapters into the architecture 'megatron-bert'")
    stopped(request_for(*stages("{use: lora, targets: [qury]}"), base=unknown), tmp_path, "no linear layer's name ends with 'qury'")
    named = request_for(*stages("{use: lora, r: 2, targets: [query, value]}"), base=unknown)
    release = build(named, store=tmp_path / "store", out=tmp_path / "out", quiet=True, device="cpu").release
    assert release is not None
    assert (release / "adapter_model.safetensors").is_file()


def test_quantisation_that_this_machine_cannot_do(request_for: Callable[..., Request], tiny: Path, tmp_path: Path) -> None:
    from langadapt import Encoder

    pytest.importorskip("bitsandbytes")
    stages = (train("{use: qlora-8bit, dora: true}"), export("adapter", "adapter"))
    stopped(request_for(*stages), tmp_path, "peft cannot train DoRA on an 8-bit base on the CPU", "Switch dora off")
    with pytest.raises(ModelError, match="8bit weights cannot be had on 'mps' Choose --device cpu, or load without quantization"):
        Encoder.load(tiny, device="mps", quantization="8bit")
    if not torch.cuda.is_available():
        for quantization in ("8bit", None):
            with pytest.raises(ModelError, match="there is no CUDA device here Choose --device cpu"):
                Encoder.load(tiny, device="cuda", quantization=quantization)
    with pytest.raises(ModelError, match="there is no quantization '2bit' Known: 8bit, 4bit"):
        Encoder.load(tiny, device="cpu", quantization="2bit")


def test_two_roles_are_not_trained_with_gradient_checkpointing(request_for: Callable[..., Request], tmp_path: Path) -> None:
    request = request_for(train("semi-siamese"), export("adapter", "adapter"), sets=("stages.adapter.gradient_checkpointing=true",))
    stopped(request, tmp_path, "'semi-siamese' cannot be trained with gradient_checkpointing", "Switch gradient_checkpointing off")


@pytest.mark.adapters
def test_members_that_are_not_there(request_for: Callable[..., Request], tmp_path: Path) -> None:
    stages = (train(f"{{use: stack, over: [{tmp_path / 'absent'}]}}"), export("adapter", "adapter"))
    stopped(request_for(*stages), tmp_path, f"{tmp_path / 'absent'}: ", "is no adapter folder")


# the command -----------------------------------------------------------------------------------------------------------


@pytest.mark.adapters
def test_the_command_says_what_stopped_a_stage(
    request_for: Callable[..., Request],
    unknown: Path,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2, one reason with its hint, no traceback, no release; each within this process, which has the libraries loaded."""
    from langadapt.cli.app import main

    member = tmp_path / "member"
    export_it = export("adapter", "adapter")
    done = build(request_for(train("bottleneck"), export_it), store=tmp_path / "store", out=tmp_path / "first", quiet=True, device="cpu")
    assert done.release is not None
    shutil.copytree(done.release, member)
    cut = Path(shutil.copytree(member, tmp_path / "cut"))
    (cut / "adapter.safetensors").write_bytes((cut / "adapter.safetensors").read_bytes()[:-9])
    other = Path(shutil.copytree(tiny, tmp_path / "other"))
    _change_one_weight(other / "model.safetensors")
    cases: list[tuple[str, Path, list[str]]] = [
        (
            "lora",
            unknown,
            ["which layers of the architecture 'megatron-bert' to adapt is not known", "Name them with the option 'targets'"],
        ),
        (f"{{use: stack, over: [{tmp_path / 'absent'}]}}", tiny, [f"{tmp_path / 'absent'}: ", "is no adapter folder"]),
        (f"{{use: stack, over: [{cut}]}}", tiny, ["is truncated or no safetensors file"]),
        (f"{{use: stack, over: [{member}]}}", other, [f"{member}: ", "the adapter is for another base", "digest"]),
        ("{use: qlora-8bit, dora: true}", tiny, ["peft cannot train DoRA on an 8-bit base on the CPU", "Switch dora off"]),
    ]
    for adaptation, base, parts in cases:
        request = request_for(train(adaptation), export_it)
        arguments = [
            "build",
            "--lang=en",
            "--recipe",
            request.recipes[0],
            "--base",
            str(base),
            "--resource",
            f"pairs={request.resources['pairs'][0]}",
        ]
        arguments += ["--store", str(tmp_path / "store"), "--out", str(tmp_path / "out"), "--device=cpu", "--quiet"]
        monkeypatch.setattr("sys.argv", ["langadapt", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        shown = capsys.readouterr().err
        assert stop.value.code == 2, shown
        for part in ("stage 'adapter'", *parts):
            assert part in shown, f"{part!r} not in: {shown}"
        assert "Traceback" not in shown
        assert not (tmp_path / "out" / "release").exists()
        left_in(tmp_path / "store")


def _change_one_weight(file: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(file)
    tensors["encoder.layer.1.output.dense.weight"][3, 5] += 1e-6
    save_file(tensors, file, metadata={"format": "pt"})
