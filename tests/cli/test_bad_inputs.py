"""Bad data, checkpoints, stores and components during a build: one clear paragraph, nothing half-written."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from langadapt.store import Store

Run = Callable[..., "subprocess.CompletedProcess[str]"]

RECIPE = """recipe: r
summary: One stage of each sort that reads something.
stages:
  nli:     {do: pair, source: {use: nli, data: $lang.nli}}
  sts:     {do: pair, source: {use: sts, data: $lang.sts}}
  corpus:  {do: collect, corpus: {use: resource, data: $lang.corpus}}
  base:    {do: load, source: $lang.encoder, max_length: 64}
  tuned:   {do: train, encoder: base, data: sts, objective: cosine-sts, epochs: 2, batch_size: 4, precision: fp32}
  scores:  {do: evaluate, encoders: tuned, evaluators: {use: sts, data: $lang.sts-test, samples: 100}}
  release: {do: export, encoder: tuned, scores: scores, exporters: sentence-transformers}
"""


@pytest.fixture
def build(run: Run, tiny: Path, pairs: dict[str, Path], tmp_path: Path) -> Run:
    """Build the recipe above with some resources replaced."""
    (tmp_path / "r.yaml").write_text(RECIPE, encoding="utf-8")
    (tmp_path / "corpus.txt").write_text("एक\nदोन\n", encoding="utf-8")

    def command(
        *more: str, base: Path = tiny, env: dict[str, str] | None = None, timeout: float = 300, **files: Path
    ) -> subprocess.CompletedProcess[str]:
        chosen = {"nli": pairs["nli"], "sts": pairs["sts"], "sts-test": pairs["sts"], "corpus": tmp_path / "corpus.txt"}
        chosen |= {name.replace("_", "-"): path for name, path in files.items()}
        resources = [f"--resource={name}={path}" for name, path in chosen.items()]
        plugins = [item for item in more if item.startswith("--plugin")]
        rest = [item for item in more if not item.startswith("--plugin")]
        command = [*plugins, "build", "--lang", "mr", "--recipe", "r.yaml", "--base", base, *resources, "--out=out", *rest]
        return run(*command, env=env, timeout=timeout)

    return command


def refused(done: subprocess.CompletedProcess[str], folder: Path, *parts: str, code: int = 2) -> None:
    """Exit code, message, no traceback, and nothing half-written."""
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in done.stderr, f"{part!r} not in: {done.stderr}"
    assert not (folder / "out" / "release").exists()
    assert not list((folder / "store").glob("partial/*/staging"))
    for artifact in (folder / "store").glob("objects/*"):
        assert (artifact / "artifact.json").is_file()


def write(path: Path, text: str | bytes) -> Path:
    """A file with this content."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("resource", "name", "content", "parts"),
    [
        ("nli", "a.tsv", "premise\thypothesis\na\tb\n", ["a.tsv:1", "no column 'label'", "lang.resources.nli.columns='{label: NAME}'"]),
        (
            "nli",
            "a.tsv",
            "premise\thypothesis\tlabel\na\tb\tentailmint\n",
            ["a.tsv:2", "unknown label 'entailmint'", "Did you mean 'entailment'?"],
        ),
        ("nli", "a.tsv", "premise\thypothesis\tlabel\na\tb\n", ["a.tsv:2", "2 fields where the header has 3"]),
        ("nli", "a.tsv", "premise\thypothesis\tlabel\na\t\tneutral\n", ["a.tsv:2", "'hypothesis' is empty"]),
        ("nli", "a.tsv", "premise\thypothesis\tlabel\n", ["there are no pairs"]),
        ("nli", "a.tsv", "premise\thypothesis\tlabel\na\tb\tneutral\n", ["one pair only", "at least two"]),
        ("nli", "a.tsv", b"premise\thypothesis\tlabel\na\tb\tneutral\ncaf\xe9\tb\tneutral\n", ["a.tsv:3", "0xe9", "iconv"]),
        ("nli", "a.xyz", "premise", ["unknown table format '.xyz'"]),
        ("nli", "a.jsonl", '{"premise": "a"\n', ["a.jsonl:1", "not JSON"]),
        ("sts", "a.tsv", "sentence1\tsentence2\tscore\na\tb\t5.5\n", ["a.tsv:2", "score 5.5 is outside 0 to 5", "score_range"]),
        ("sts", "a.tsv", "sentence1\tsentence2\tscore\na\tb\tmuch\n", ["a.tsv:2", "'much' is not a number"]),
        ("sts", "a.tsv", "sentence1\tsentence2\nа\tb\n", ["a.tsv:1", "no column 'score'"]),
        ("corpus", "a.txt", "", ["the corpus is empty"]),
        ("corpus", "a.txt", "x" * 1_000_001 + "\n", ["a.txt:1", "a line of over 1,000,000 characters"]),
        ("corpus", "a.txt.gz", gzip.compress(b"one\ntwo\n" * 5000, mtime=0)[:-20], ["a.txt.gz", "truncated"]),
    ],
)
def test_bad_data(build: Run, tmp_path: Path, resource: str, name: str, content: str | bytes, parts: list[str]) -> None:
    refused(build(**{resource: write(tmp_path / name, content)}), tmp_path, *parts)


def copied(tiny: Path, folder: Path) -> Path:
    """A copy of the small encoder to damage."""
    return Path(shutil.copytree(tiny, folder))


def test_base_without_tokenizer(build: Run, tiny: Path, tmp_path: Path) -> None:
    base = copied(tiny, tmp_path / "base")
    (base / "tokenizer.json").unlink()
    refused(build(base=base), tmp_path, "has no tokenizer", str(base))


def test_truncated_and_altered_safetensors(build: Run, tiny: Path, tmp_path: Path) -> None:
    base = copied(tiny, tmp_path / "base")
    weights = base / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    refused(build(base=base), tmp_path, "model.safetensors", "truncated")
    weights.write_bytes(b"\xff" * 64 + whole[64:])
    refused(build(base=base), tmp_path, "model.safetensors", "no safetensors file")


def test_pickled_checkpoint_is_refused(build: Run, tiny: Path, tmp_path: Path) -> None:
    base = copied(tiny, tmp_path / "base")
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    refused(build(base=base), tmp_path, "pickled (pytorch_model.bin)", "can run any code", "Convert them to safetensors")


def test_tokenizer_of_another_model(build: Run, tiny: Path, e5: Path, tmp_path: Path) -> None:
    base = copied(tiny, tmp_path / "base")
    shutil.copy(e5 / "tokenizer.json", base / "tokenizer.json")
    refused(build(base=base), tmp_path, "the tokenizer has 250,002 entries", "do not belong together")


def test_weights_that_are_no_numbers_are_refused(build: Run, tiny: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    base = copied(tiny, tmp_path / "base")
    tensors = load_file(base / "model.safetensors")
    name = next(name for name in tensors if name.endswith("layer.1.output.dense.weight"))
    tensors[name] = tensors[name] * float("nan")
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    refused(build(base=base), tmp_path, "stage 'base':", "are no numbers (NaN or infinite)", "layer.1.output.dense.weight")


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_with_the_step(build: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN_LOSS, encoding="utf-8")
    done = build("--plugin=broken", "--set=stages.tuned.objective=broken", env={"PYTHONPATH": str(tmp_path)})
    refused(done, tmp_path, "stage 'tuned': the loss is nan at step 1 of 4", "learning_rate", code=3)


BROKEN_LOSS = """
from langadapt.contracts import ComponentRef, Loss, hookimpl
from langadapt_objectives.sts import CosineSts

@hookimpl
def langadapt_components():
    return [ComponentRef("objective", "broken", "broken:Broken", "no number")]

class Broken(CosineSts):
    name = "broken"
    def loss(self, models, batch, step):
        return Loss(super().loss(models, batch, step).total * float("nan"))
"""


def test_tampered_release_and_artifact(build: Run, run: Run, tmp_path: Path) -> None:
    assert build().returncode == 0
    release = tmp_path / "out" / "release"
    assert run("verify", release).returncode == 0
    (release / "extra.bin").write_bytes(b"x")
    with (release / "model.safetensors").open("r+b") as handle:
        handle.seek(1000)
        handle.write(b"tampered")
    (release / "config.json").unlink()
    done = run("verify", release)
    assert done.returncode == 2
    for part in ("model.safetensors: was altered", "config.json: is missing", "extra.bin: is not in SHA256SUMS"):
        assert part in done.stderr
    artifact = next((tmp_path / "store").glob("objects/*/scores.json"))
    artifact.write_text("{}")
    done = run("verify")
    assert done.returncode == 2
    assert f"{artifact}: has 2 bytes" in done.stderr
    # A run folder that is gone keeps nothing alive.
    shutil.rmtree(tmp_path / "out")
    assert json.loads(run("gc", "--json").stdout)["removed"]
    assert not list((tmp_path / "store").glob("objects/*"))


RAISING = """
from langadapt.contracts import ComponentRef, Normalizer, hookimpl

@hookimpl
def langadapt_components():
    return [ComponentRef("normalizer", "raising", "raising_plugin:Raising", "raises")]

@hookimpl
def langadapt_stage_start(stage):
    raise RuntimeError("observer trouble")

class Raising(Normalizer):
    name = "raising"
    def normalize(self, text):
        raise ValueError("cannot cope with this text")
    def fast(self):
        return None
"""


def test_a_component_that_raises_is_named(build: Run, tmp_path: Path) -> None:
    write(tmp_path / "raising_plugin.py", RAISING)
    environment = {"PYTHONPATH": str(tmp_path)}
    done = build("--plugin=raising_plugin", "--set=stages.nli.normalizer=raising", env=environment)
    refused(done, tmp_path, "raising_plugin.py:", "the normalizer 'raising' raised ValueError: cannot cope with this text", "stage 'nli'")


def test_an_observer_that_raises_is_one_warning(build: Run, tmp_path: Path) -> None:
    write(tmp_path / "raising_plugin.py", RAISING)
    done = build("--plugin=raising_plugin", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("observer trouble") == 1


def test_unwritable_store(build: Run, tmp_path: Path) -> None:
    write(tmp_path / "file", "x")
    done = build("--store", str(tmp_path / "file" / "store"))
    refused(done, tmp_path, "the store", "cannot be written", "--store or LANGADAPT_STORE")


@pytest.mark.skipif(sys.platform != "linux", reason="a full disk is made with a small tmpfs")
def test_full_disk(build: Run, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)], capture_output=True)
    limit: list[str] = []
    if mounted.returncode != 0:  # no right to mount: forbid large files instead
        limit = ["file size"]
    try:
        if limit:
            import resource

            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (12 << 20, hard))
            done = build("--store", str(disk / "store"))
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        else:
            done = build("--store", str(disk / "store"))
        refused(done, tmp_path, "stage 'base' cannot write", "run the same command again")
        assert all((artifact / "artifact.json").is_file() for artifact in disk.glob("store/objects/*"))
        assert not list(disk.glob("store/partial/*/staging"))
    finally:
        if not limit:
            subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
def test_two_builds_at_once_take_turns(build: Run, tmp_path: Path, run: Run) -> None:
    from concurrent.futures import ThreadPoolExecutor

    keys = json.loads(build("--json", "--out=zero").stdout)["keys"]
    for folder in (tmp_path / "store").glob("objects/*"):
        shutil.rmtree(folder)
    # Processes of their own: the warm one would answer one after the other.
    cold = {"OMP_NUM_THREADS": "1"}
    with ThreadPoolExecutor(2) as pool:
        with Store(tmp_path / "store").lock(keys["tuned"]):  # neither can train before both have begun
            builds = [pool.submit(build, f"--out={out}", "--json", env=cold) for out in ("one", "two")]
            end = time.monotonic() + 120
            while not all((tmp_path / out / "events.jsonl").is_file() for out in ("one", "two")):
                assert time.monotonic() < end, "a build did not begin"
                time.sleep(0.05)
        first, second = (one.result() for one in builds)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    a, b = json.loads(first.stdout), json.loads(second.stdout)
    assert a["keys"] == b["keys"]
    # Every stage was run once, by the one or the other.
    assert sorted(a["ran"] + b["ran"]) == sorted(a["keys"])
    assert run("verify").returncode == 0
    assert (tmp_path / "one" / "release" / "SHA256SUMS").read_text() == (tmp_path / "two" / "release" / "SHA256SUMS").read_text()


def test_embed_reads_stdin_and_refuses_what_is_not_utf8(run: Run, tiny: Path, tmp_path: Path) -> None:
    done = run("embed", tiny, "--quiet", stdin="एक माणूस\n\nगिटार\n")
    assert [len(json.loads(line)["vector"]) for line in done.stdout.splitlines()] == [384, 384, 384]
    texts = write(tmp_path / "bad.txt", b"ok\n\xff\n")
    done = run("embed", tiny, texts)
    assert done.returncode == 2
    assert "bad.txt:2" in done.stderr


def test_paraphrases_are_said_to_stand_in_for_nli(build: Run, tmp_path: Path) -> None:
    paraphrases = write(tmp_path / "p.tsv", "sentence1\tsentence2\tlabel\na\tb\tP\nc\td\tNP\ne\tf\tP\n")
    done = build(nli=paraphrases)
    assert done.returncode == 0, done.stderr
    assert "paraphrase pairs, not NLI" in done.stderr
    assert "no hard negatives" in done.stderr


def test_an_own_folder_called_release_is_never_replaced(build: Run, tmp_path: Path) -> None:
    mine = write_new(tmp_path / "out" / "release" / "mine.txt", "years of work")
    done = build()
    assert done.returncode == 2
    assert "something that no build made" in done.stderr
    assert mine.read_text() == "years of work"
    assert not list((tmp_path / "store").glob("objects/*"))


def test_a_damaged_release_is_copied_again(build: Run, run: Run, tmp_path: Path) -> None:
    assert build().returncode == 0
    release = tmp_path / "out" / "release"
    (release / "model.safetensors").unlink()
    (release / "README.md").write_text("altered", encoding="utf-8")
    assert run("verify", release).returncode == 2
    again = build()
    assert again.returncode == 0
    assert "Nothing to do" in again.stdout
    assert run("verify", release).returncode == 0


def test_records_that_are_none(build: Run, run: Run, tmp_path: Path) -> None:
    assert build().returncode == 0
    (tmp_path / "out" / "lock.json").write_text("{}", encoding="utf-8")
    assert build().returncode == 0
    artifact = next((tmp_path / "store" / "objects").iterdir())
    (artifact / "artifact.json").write_text("{}", encoding="utf-8")
    done = run("verify", "--store", tmp_path / "store")
    assert done.returncode == 2
    assert "is not the record of this artifact" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("a.csv", 'sentence1,sentence2,score\n"' + "x" * 200_000 + "\n", ["a.csv"]),
        ("a.tsv", "sentence1\tsentence2\tscore\na\tb\t3\nc\td\t3\ne\tf\t3\n", ["all 3 scores are the same", "nothing to correlate"]),
    ],
)
def test_test_sets_that_measure_nothing(name: str, content: str, parts: list[str], build: Run, tmp_path: Path) -> None:
    refused(build(sts_test=write(tmp_path / name, content)), tmp_path, *parts)


def test_embedding_into_no_folder_says_so_before_it_works(run: Run, tiny: Path, tmp_path: Path) -> None:
    write(tmp_path / "t.txt", "एक\n")
    done = run("embed", tiny, "t.txt", "-o", "nowhere/v.npy")
    assert done.returncode == 2
    assert "there is no such folder to write to" in done.stderr
    unknown = run("embed", "nobody/nothing", "t.txt")
    assert unknown.returncode == 2
    assert "--resource" not in unknown.stderr


def test_paraphrases_in_place_of_nli_are_in_the_card(build: Run, tmp_path: Path) -> None:
    lines = [f"वाक्य {i}\tवाक्य {i} आहे\t{'P' if i % 2 else 'NP'}" for i in range(8)]
    recipe = (
        (tmp_path / "r.yaml")
        .read_text(encoding="utf-8")
        .replace("encoder: base, data: sts, objective: cosine-sts", "encoder: base, data: nli, objective: multiple-negatives")
    )
    write(tmp_path / "r.yaml", recipe)
    done = build(nli=write(tmp_path / "p.tsv", "sentence1\tsentence2\tlabel\n" + "\n".join(lines) + "\n"))
    assert done.returncode == 0, done.stderr
    card = (tmp_path / "out" / "release" / "README.md").read_text(encoding="utf-8")
    assert "these are paraphrase pairs, not NLI" in card
    assert "## Environment" in card
    assert "torch" in card


def write_new(path: Path, text: str) -> Path:
    """A file in folders of its own."""
    path.parent.mkdir(parents=True)
    return write(path, text)
