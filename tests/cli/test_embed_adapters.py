"""``langadapt embed`` with adapters: what the library gives, and one clear line where the choice is not clear."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from langadapt import Encoder
from langadapt.planning.request import resource_paths

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore::UserWarning")]

Run = Callable[..., "subprocess.CompletedProcess[str]"]

RECIPE = """recipe: short
summary: A few steps of LoRA.
stages:
  base:    {do: load, source: $lang.encoder, max_length: 64}
  pairs:   {do: pair, source: {use: retrieval, data: $domain.pairs}}
  adapter: {do: train, encoder: base, data: pairs, objective: multiple-negatives, adaptation: {use: lora, r: 2}, steps: 4, batch_size: 4,
            learning_rate: 5e-3, precision: fp32}
  release: {do: export, encoder: adapter, exporters: [adapter]}
"""

WORDS = {
    "clinical": ["fever", "asthma", "leukemia", "a stroke", "diabetes", "anemia"],
    "telecom": ["a handover", "the core network", "a bearer", "paging", "roaming", "the downlink"],
}
QUESTIONS = {
    "clinical": "What are the symptoms of {} in a patient ?\tPatients who have {} are treated by a doctor with medicine.",
    "telecom": "What does {} do in 5G NR?\tThe UE and the gNB signal {} over the radio interface of the base station.",
}
TEXTS = [line.format(word) for name, words in WORDS.items() for word in words[:3] for line in QUESTIONS[name].split("\t")]
OWN = [name for name in WORDS for _ in range(6)]


@pytest.fixture(scope="module")
def releases(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two adapters of the small encoder, trained for a moment on a few sentences of their domain."""
    from langadapt.contracts.plan import Request
    from langadapt.running.build import build

    folder = tmp_path_factory.mktemp("releases")
    (folder / "short.yaml").write_text(RECIPE, encoding="utf-8")
    found = {}
    for domain, line in QUESTIONS.items():
        rows = "".join(line.format(word, word) + "\n" for word in WORDS[domain])
        (folder / f"{domain}.tsv").write_text("query\tpassage\n" + rows, encoding="utf-8")
        resource = (f"pairs={folder / domain}.tsv",)
        request = Request((str(folder / "short.yaml"),), "en", domain, base=str(tiny), resources=resource_paths(resource))
        release = build(request, store=folder / "store", out=folder / domain, quiet=True, device="cpu").release
        assert release is not None
        found[domain] = release
    return found


@pytest.fixture
def added(releases: dict[str, Path]) -> list[str]:
    """The arguments that add both."""
    return [f"--adapter={name}={path}" for name, path in releases.items()]


@pytest.fixture
def encoder(tiny: Path, releases: dict[str, Path]) -> Encoder:
    """The same through the library."""
    found = Encoder.load(tiny, device="cpu")
    for name, path in releases.items():
        found.add_adapter(name, path)
    return found


@pytest.fixture
def embed(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command within this process, which has the libraries loaded; texts stand in a file."""
    from langadapt.cli.app import main

    def command(texts: list[str], *arguments: object, base: Path = tiny) -> subprocess.CompletedProcess[str]:
        (tmp_path / "texts.tsv").write_text("\n".join(texts) + "\n", encoding="utf-8")
        given = ["langadapt", "embed", str(base), "texts.tsv", "--device=cpu", "--quiet", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", given)
        monkeypatch.chdir(tmp_path)
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        shown = capsys.readouterr()
        return subprocess.CompletedProcess(given, code, shown.out, shown.err)

    return command


def vectors(done: subprocess.CompletedProcess[str], folder: Path) -> np.ndarray:
    """What was written to ``out.npy``."""
    assert done.returncode == 0, done.stderr
    found: np.ndarray = np.load(folder / "out.npy")
    assert found.dtype == np.float32
    return found


def close(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and float(np.abs(a - b).max()) < 1e-5


def test_the_adapters_differ(encoder: Encoder) -> None:
    """Else nothing below would show which one was used."""
    plain, clinical, telecom = (encoder.encode(TEXTS, adapter=[name] * len(TEXTS)) for name in (None, "clinical", "telecom"))
    for a, b in ((plain, clinical), (plain, telecom), (clinical, telecom)):
        assert np.abs(a - b).max(1).min() > 1e-3


def test_a_lone_adapter_is_used_for_all(embed: Run, encoder: Encoder, added: list[str], tmp_path: Path) -> None:
    found = vectors(embed(TEXTS, added[1], "-o", "out.npy"), tmp_path)
    assert close(found, encoder.encode(TEXTS, adapter="telecom"))


def test_one_of_several_is_named(embed: Run, encoder: Encoder, added: list[str], tmp_path: Path) -> None:
    found = vectors(embed(TEXTS, *added, "--use=clinical", "--normalize", "-o", "out.npy"), tmp_path)
    assert close(found, encoder.encode(TEXTS, adapter="clinical", normalize=True))


def test_each_line_names_its_own(run: Run, tiny: Path, encoder: Encoder, added: list[str], tmp_path: Path) -> None:
    """In a process of its own, from standard input to JSON; a text may hold tabs, and '-' is the base."""
    names = ["telecom", "-", "clinical", " clinical ", "-"]
    texts = [*TEXTS[:3], "fever\tand chills", ""]
    given = "".join(f"{name}\t{text}\n" for name, text in zip(names, texts, strict=True))
    done = run("embed", tiny, *added, "--per-line", "--device=cpu", "--quiet", stdin=given)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    chosen = ["telecom", None, "clinical", "clinical", None]
    assert [row["text"] for row in rows] == texts
    assert [row["adapter"] for row in rows] == chosen
    assert close(np.array([row["vector"] for row in rows], dtype=np.float32), encoder.encode(texts, adapter=chosen))


def test_each_text_is_routed(embed: Run, encoder: Encoder, added: list[str]) -> None:
    done = embed(TEXTS, *added, "--route")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    chosen = [row["adapter"] for row in rows]
    assert chosen[::2] == OWN[::2], "an adapter is known by its questions"
    assert chosen == encoder.route(TEXTS)
    assert close(np.array([row["vector"] for row in rows], dtype=np.float32), encoder.encode(TEXTS, adapter=chosen))


def test_a_quantised_base(embed: Run, encoder: Encoder, releases: dict[str, Path], added: list[str], tiny: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    mixed = [f"{name}\t{text}" for name, text in zip(OWN, TEXTS, strict=True)]
    found = vectors(embed(mixed, *added, "--per-line", "--quantization=8bit", "-o", "out.npy"), tmp_path)
    small = Encoder.load(tiny, device="cpu", quantization="8bit")
    for name, path in releases.items():
        small.add_adapter(name, path)
    assert close(found, small.encode(TEXTS, adapter=OWN))
    whole = encoder.encode(TEXTS, adapter=OWN)
    assert not np.array_equal(found, whole)
    cosines = (found * whole).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(whole, axis=1)
    assert cosines.min() > 0.99


def test_another_pooler(embed: Run, tiny: Path, added: list[str], tmp_path: Path) -> None:
    """It serves the base; an adapter trained under the mean is not served under the maximum."""
    found = vectors(embed(TEXTS, "--pooler=max", "-o", "out.npy"), tmp_path)
    assert close(found, Encoder.load(tiny, device="cpu", pooler="max").encode(TEXTS))
    refused(embed(TEXTS, added[0], "--pooler=max"), "the adapter was trained with the pooler mean, the encoder has max", "pooler='mean'")
    refused(embed(TEXTS, "--pooler=men"), "there is no pooler 'men'", "Did you mean 'mean'?")


# refusals --------------------------------------------------------------------------------------------------------------


def refused(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Exit code 2, the reason, no traceback and no vectors."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout
    for part in parts:
        assert part in done.stderr, f"{part!r} not in: {done.stderr}"


def test_all_unknown_names_of_a_batch_are_listed(embed: Run, added: list[str], tmp_path: Path) -> None:
    lines = ["clinical\tfever", "telcom\tpaging", "-\tanything", "law\ta court", "telcom\tagain"]
    done = embed(lines, *added, "--per-line", "-o", "out.npy")
    refused(done, "no adapter is called 'telcom', 'law'", "Did you mean 'telecom'?")
    refused(embed(TEXTS, *added, "--use=clinicl", "-o", "out.npy"), "no adapter is called 'clinicl'", "Did you mean 'clinical'?")
    assert [path.name for path in tmp_path.iterdir()] == ["texts.tsv"]


def test_lines_without_a_tab_name_file_and_line(embed: Run, run: Run, tiny: Path, added: list[str], tmp_path: Path) -> None:
    lines = ["clinical\tfever", "", "no tab here"]
    refused(embed(lines, *added, "--per-line", "-o", "out.npy"), "error: texts.tsv:2: there is no tab")
    assert not (tmp_path / "out.npy").exists()
    refused(run("embed", tiny, *added, "--per-line", stdin="-\tfever\nno tab\n"), "error: standard input:2: there is no tab")


@pytest.mark.parametrize("item", ["clinical", "=folder", "clinical=", "="])
def test_what_is_not_name_and_path(embed: Run, item: str) -> None:
    refused(embed(TEXTS, f"--adapter={item}"), f"{item} is not NAME=PATH", "--adapter")


def test_one_name_twice(embed: Run, releases: dict[str, Path], added: list[str]) -> None:
    """The second would silently stand in for the first."""
    refused(embed(TEXTS, added[0], f"--adapter=clinical={releases['telecom']}"), "two adapters are called clinical")


def test_choices_that_exclude_one_another(embed: Run, added: list[str]) -> None:
    refused(embed(TEXTS, *added), "Several adapters: choose with --per-line, --use NAME or --route.")
    refused(embed(TEXTS, *added, "--route", "--use=clinical"), "--per-line, --use and --route exclude one another.")
    for choice in ("--route", "--per-line", "--use=clinical"):
        refused(embed(TEXTS, choice), "Add adapters with --adapter NAME=PATH first.")


def test_folders_that_hold_no_adapter(embed: Run, tiny: Path, releases: dict[str, Path], tmp_path: Path) -> None:
    refused(embed(TEXTS, "--adapter=x=./absent"), "./absent: there is no such folder")
    refused(embed(TEXTS, f"--adapter=x={tiny}"), f"{tiny}: there is no adapter_config.json", "Is this an adapter folder?")
    refused(embed(TEXTS, base=releases["clinical"]), "is an adapter, and its base ('tiny", "is not beside it", "add_adapter(NAME, FOLDER)")


def test_an_adapter_for_another_base(embed: Run, tiny: Path, added: list[str], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    other = Path(shutil.copytree(tiny, tmp_path / "other"))
    tensors = load_file(other / "model.safetensors")
    tensors["encoder.layer.0.output.dense.weight"][0, 0] += 1e-6
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    done = embed(TEXTS, added[0], base=other)
    refused(done, "the adapter is for another base (tiny", "digest", "Load the base it was trained on.")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("adapter_model.safetensors", "is truncated or no safetensors file"),
        ("adapter_config.json", "is truncated or no JSON"),
        ("adapter.json", "is truncated or no JSON"),
        ("encoder.json", "is truncated or no JSON"),
        ("centroid.safetensors", "is truncated or no safetensors file"),
    ],
)
def test_a_truncated_adapter(embed: Run, releases: dict[str, Path], name: str, message: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(releases["clinical"], tmp_path / "cut"))
    (folder / name).write_bytes((folder / name).read_bytes()[:-20])
    refused(embed(TEXTS, f"--adapter=x={folder}", "-o", "out.npy"), f"error: {folder / name}: {message}")
    (folder / name).unlink()
    if name not in ("centroid.safetensors", "adapter.json"):  # foreign adapters have neither
        refused(embed(TEXTS, f"--adapter=x={folder}", "-o", "out.npy"), f"error: {folder}: there is n")
    assert not (tmp_path / "out.npy").exists()


@pytest.mark.adapters
def test_an_architecture_in_which_the_adapter_has_no_place(embed: Run, tiny: Path, tmp_path: Path) -> None:
    """A foreign bottleneck states no base: the shapes and blocks tell."""
    import adapters
    from tokenizers import Tokenizer
    from transformers import AlbertConfig, AlbertModel

    size = Tokenizer.from_file(str(tiny / "tokenizer.json")).get_vocab_size()
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "embedding_size": 16}
    model = AlbertModel(AlbertConfig(vocab_size=size, **shape), add_pooling_layer=False)
    base = tmp_path / "albert"
    model.save_pretrained(base)
    for file in (*tiny.glob("tokenizer*"), *tiny.glob("special_tokens_map.json")):  # transformers 5 writes no map
        shutil.copy(file, base)
    adapters.init(model)
    model.add_adapter("a", config="seq_bn")
    model.save_adapter(str(tmp_path / "a"), "a", use_safetensors=True)
    done = embed(TEXTS, f"--adapter=a={tmp_path / 'a'}", base=base)
    assert done.returncode == 2, done.stderr
    assert "a: the adapter holds 'encoder.albert_layer_groups" in done.stderr or "architecture 'albert' is not known" in done.stderr
    assert not done.stdout


def test_a_quantisation_that_this_machine_cannot_do(embed: Run, tiny: Path) -> None:
    pytest.importorskip("bitsandbytes")
    done = embed(TEXTS, "--quantization=8bit", "--device=mps")
    refused(done, "8bit weights cannot be had on 'mps'", "Choose --device cpu, or load without quantization.")


WITHOUT_BITSANDBYTES = """import importlib.util
import sys

class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "bitsandbytes":
            raise ModuleNotFoundError(name)
        return None

before = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "bitsandbytes" else before(name, package)
sys.meta_path.insert(0, Nowhere())
"""


@pytest.mark.parametrize("command", ["embed", pytest.param("build", marks=pytest.mark.slow)])
def test_without_bitsandbytes(command: str, run: Run, tiny: Path, tmp_path: Path) -> None:
    """In an interpreter that has none."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "sitecustomize.py").write_text(WITHOUT_BITSANDBYTES, encoding="utf-8")
    env = {"PYTHONPATH": str(tmp_path / "hidden")}
    if command == "embed":
        done = run("embed", tiny, "--quantization=4bit", "--device=cpu", "--quiet", stdin="fever\n", env=env)
    else:
        (tmp_path / "short.yaml").write_text(RECIPE.replace("{use: lora, r: 2}", "qlora-4bit"), encoding="utf-8")
        (tmp_path / "pairs.tsv").write_text("query\tpassage\n" + "".join(f"what is {i}\tit is {i}\n" for i in range(9)), encoding="utf-8")
        options = ["--lang=en", "--domain=clinical", f"--base={tiny}", "--resource=pairs=pairs.tsv", "--device=cpu"]
        done = run("build", "--recipe=short.yaml", *options, "--out=out", env=env)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "4bit weights need bitsandbytes, which is not installed" in done.stderr
    assert "Install the plugin langadapt-lora" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "release").exists()
