"""Adapters from a recipe to one encoder that serves them all, on real questions of two domains."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from langadapt import Encoder
from langadapt.contracts.component import Context
from langadapt.contracts.plan import Request
from langadapt.errors import ModelError
from langadapt.files import read_json
from langadapt.planning.request import overrides, resource_paths
from langadapt.registry.registry import Registry
from langadapt.running.build import build
from langadapt.running.runner import Outcome
from langadapt.verbs.job import Job

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore::UserWarning")]

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Build = Callable[..., Outcome]

ROWS = 240
SHORT = ("stages.base.max_length=64", "stages.adapter.learning_rate=5e-3")


def head(path: Path, count: int) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as handle:
        return list(itertools.islice(handle, count))


@pytest.fixture(scope="module")
def lab(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store and the first real pairs of either domain: a BEIR folder and a table."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "telecom.jsonl").write_text("".join(head(data / "teleqna-en-telecom" / "train.jsonl.gz", ROWS)), encoding="utf-8")
    medquad, clinical = data / "medquad-en-clinical" / "train", folder / "clinical"
    clinical.mkdir()
    judged = head(medquad / "qrels.tsv.gz", ROWS + 1)
    (clinical / "qrels.tsv").write_text("".join(judged), encoding="utf-8")
    for place, name in enumerate(("queries", "corpus")):
        wanted = {line.split("\t")[place] for line in judged}
        lines = [line for line in head(medquad / f"{name}.jsonl.gz", 10**6) if json.loads(line)["_id"] in wanted]
        (clinical / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def request(lab: Path, base: Path, domain: str, *sets: str, recipe: str = "domain-adapter") -> Request:
    pairs = {"clinical": lab / "clinical", "telecom": lab / "telecom.jsonl"}[domain]
    return Request((recipe,), "en", domain, overrides(sets), base=str(base), resources={"pairs": (str(pairs),)})


@pytest.fixture(scope="module")
def make(lab: Path, tiny: Path) -> Build:
    """Build in this process, which has the libraries loaded; builds share a store."""

    def builder(domain: str, *sets: str, name: str = "", recipe: str = "domain-adapter") -> Outcome:
        asked = request(lab, tiny, domain, *sets, recipe=recipe)
        return build(asked, store=lab / "store", out=lab / "runs" / (name or domain), quiet=True, device="cpu")

    return builder


@pytest.fixture(scope="module")
def built(make: Build) -> dict[str, Outcome]:
    """The recipe's bottleneck adapter for each domain, and a LoRA for the second."""
    lora = (*SHORT, "stages.adapter.adaptation=lora")
    return {
        "clinical": make("clinical", *SHORT),
        "telecom": make("telecom", *SHORT),
        "lora": make("telecom", *lora, name="lora"),
        "merged": make("telecom", *lora, "stages.release.exporters=[sentence-transformers]", name="merged"),
    }


def artifact(outcome: Outcome, stage: str) -> Path:
    """A stage's folder in the store."""
    return outcome.run_dir.parents[1] / "store" / "objects" / outcome.plan.stage(stage).key


def release(outcome: Outcome) -> Path:
    assert outcome.release is not None
    return outcome.release


@pytest.fixture(scope="module")
def texts(lab: Path) -> list[str]:
    """Questions and passages of both domains, an empty and an over-long one."""
    clinical = [json.loads(line)["text"] for line in (lab / "clinical" / "queries.jsonl").read_text(encoding="utf-8").splitlines()[:7]]
    rows = [json.loads(line) for line in (lab / "telecom.jsonl").read_text(encoding="utf-8").splitlines()[:6]]
    return [*clinical, *(row[name] for row in rows for name in ("question", "explanation")), "", "fever " * 200]


def serving(tiny: Path, built: dict[str, Outcome], *names: str) -> Encoder:
    found = Encoder.load(tiny, device="cpu")
    for name in names:
        found.add_adapter(name, release(built[name]))
    return found


def close(a: np.ndarray, b: np.ndarray) -> None:
    assert a.shape == b.shape
    assert float(np.abs(a - b).max()) <= 1e-5


def pooled(model: Any, folder: Path, texts: Iterable[str], length: int = 64) -> np.ndarray:
    """Mean of a plain transformers model's states, text by text."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = []
    with torch.no_grad():
        for text in texts:
            batch = tokenizer(text, return_tensors="pt", truncation=True, max_length=length)
            rows.append(model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state[0].mean(0).numpy())
    return np.stack(rows)


# serving ---------------------------------------------------------------------------------------------------------------


@pytest.mark.adapters
def test_a_mixed_batch_equals_each_adapter_alone(tiny: Path, built: dict[str, Outcome], texts: list[str]) -> None:
    names = [None, "clinical", "telecom", "lora"]
    everyone = serving(tiny, built, "clinical", "telecom", "lora")
    alone: dict[str | None, np.ndarray] = {None: Encoder.load(tiny, device="cpu").encode(texts)}
    alone |= {name: serving(tiny, built, name).encode(texts, adapter=name) for name in names if name}
    for a, b in itertools.combinations(names, 2):
        assert np.abs(alone[a] - alone[b]).max(1).min() > 1e-3, "else nothing here shows which one was used"
    for shift in range(len(names)):
        chosen = [names[(i + shift) % len(names)] for i in range(len(texts))]
        mixed = everyone.encode(texts, adapter=chosen)
        close(mixed, np.stack([alone[name][i] for i, name in enumerate(chosen)]))
        close(everyone.encode(texts, adapter=chosen, batch_tokens=64), mixed)


@pytest.mark.adapters
def test_the_library_that_wrote_a_release_loads_it(tiny: Path, built: dict[str, Outcome], texts: list[str]) -> None:
    """As the release's card says: to the same vectors, with neither library knowing of langadapt."""
    import adapters
    import peft
    from transformers import AutoModel

    encoder, some = serving(tiny, built, "clinical", "telecom", "lora"), texts[::2]
    for name in ("clinical", "telecom"):
        model = AutoModel.from_pretrained(tiny, add_pooling_layer=False)
        adapters.init(model)
        model.load_adapter(str(release(built[name])), load_as="mine", set_active=True, use_safetensors=True)
        close(pooled(model.eval(), tiny, some), encoder.encode(some, adapter=name))
    theirs = peft.PeftModel.from_pretrained(AutoModel.from_pretrained(tiny, add_pooling_layer=False), release(built["lora"])).eval()
    close(pooled(theirs, tiny, some), encoder.encode(some, adapter="lora"))


@pytest.mark.adapters
def test_names_are_taken_once_and_never_empty(tiny: Path, built: dict[str, Outcome]) -> None:
    """No text could ask for the empty name: it would get the base's vector without a word."""
    encoder = serving(tiny, built, "clinical")
    with pytest.raises(ModelError, match="there is an adapter 'clinical' already Remove it first"):
        encoder.add_adapter("clinical", release(built["telecom"]))
    with pytest.raises(ModelError, match="an adapter is called by a text"):
        encoder.add_adapter("", release(built["telecom"]))
    with pytest.raises(ModelError, match="an adapter needs a name"):
        encoder.stack_adapters("", ["clinical"])
    assert encoder.adapters == ["clinical"]


@pytest.mark.adapters
def test_questions_find_the_adapter_of_their_domain(tiny: Path, built: dict[str, Outcome], data: Path) -> None:
    """Real questions far from the rows that training had; both adapters know a few hundred by their mean alone."""
    encoder = serving(tiny, built, "clinical", "telecom")
    asked = {
        "clinical": [json.loads(line)["text"] for line in head(data / "medquad-en-clinical" / "train" / "queries.jsonl.gz", 1000)[-200:]],
        "telecom": [json.loads(line)["question"] for line in head(data / "teleqna-en-telecom" / "train.jsonl.gz", 1000)[-200:]],
    }
    for name, questions in asked.items():
        assert np.mean([found == name for found in encoder.route(questions)]) > 0.8, "half of them by chance"


@pytest.mark.adapters
def test_it_learns(built: dict[str, Outcome]) -> None:
    """A few steps are no benchmark: the loss falls, and the release has the scores of base and adapter."""
    for name in ("clinical", "telecom", "lora"):
        losses = [loss for _, loss in read_json(artifact(built[name], "adapter") / "training.json")["losses"]]
        assert losses[-1] < losses[0]
        found = read_json(release(built[name]) / "scores.json")
        assert list(found) == ["base", "adapter"]
        assert [score["metric"] for score in found["adapter"]] == ["mrr@10", "ndcg@10", "recall@10", "accuracy@1"]
        assert found["base"][0]["n"] == found["adapter"][0]["n"] > 15
        assert found["base"] != found["adapter"]


# releases --------------------------------------------------------------------------------------------------------------


@pytest.mark.adapters
@pytest.mark.parametrize("name", ["clinical", "telecom", "lora"])
def test_a_release_is_small_and_names_its_base(name: str, tiny: Path, built: dict[str, Outcome]) -> None:
    from langadapt.modeling.digest import weights_digest

    folder = release(built[name])
    record = read_json(folder / "adapter.json")
    (weights,) = [path for path in folder.glob("*.safetensors") if path.name != "centroid.safetensors"]
    assert weights.stat().st_size <= 4 * record["trained"] + 8192, "float32 weights and a header"
    whole = (tiny / "model.safetensors").stat().st_size
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 0.036 * whole
    assert record["base"]["digest"] == weights_digest(tiny)
    assert (record["base"]["origin"], record["base"]["model_type"]) == (tiny.name, "bert")
    assert record["base"]["parameters"] == sum(value.numel() for value in _tensors(tiny / "model.safetensors").values())
    assert record["trained"] == sum(value.numel() for value in _tensors(weights).values())
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert record["base"]["digest"] in card
    assert f"{record['trained']:,} weights" in card
    assert not [path.name for path in folder.iterdir() if str(tiny.parent).encode() in path.read_bytes()], "no path of this machine"


def _tensors(file: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    found: dict[str, torch.Tensor] = load_file(file)
    return found


@pytest.mark.adapters
def test_another_base_is_refused(tiny: Path, built: dict[str, Outcome], tmp_path: Path) -> None:
    """One weight of seven million differs by a hair."""
    from safetensors.torch import save_file

    other = Path(shutil.copytree(tiny, tmp_path / "other"))
    tensors = _tensors(other / "model.safetensors")
    tensors["encoder.layer.1.output.dense.weight"][3, 5] += 1e-6
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    encoder = Encoder.load(other, device="cpu")
    for name in ("clinical", "lora"):
        with pytest.raises(ModelError, match=f"the adapter is for another base \\({tiny.name}, digest .*Load the base it was trained on"):
            encoder.add_adapter(name, release(built[name]))
    assert encoder.adapters == []


@pytest.mark.adapters
def test_a_damaged_release_is_refused(run: Run, tiny: Path, built: dict[str, Outcome], tmp_path: Path) -> None:
    good = release(built["clinical"])
    encoder = Encoder.load(tiny, device="cpu")

    def refused(change: Callable[[Path], Any], message: str) -> None:
        folder = Path(shutil.copytree(good, tmp_path / "bad"))
        change(folder)
        with pytest.raises(ModelError, match=message) as caught:
            encoder.add_adapter("bad", folder)
        assert str(folder) in str(caught.value)
        shutil.rmtree(folder)

    def cut(name: str) -> Callable[[Path], Any]:
        return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-9])

    refused(cut("adapter.safetensors"), "is truncated or no safetensors file")
    refused(cut("adapter.json"), "is truncated or no JSON")
    refused(cut("adapter_config.json"), "is truncated or no JSON")
    refused(lambda folder: (folder / "adapter.safetensors").unlink(), "there is neither adapter_model.safetensors nor adapter.safetensors")
    refused(lambda folder: (folder / "adapter_config.json").unlink(), "there is no adapter_config.json")
    with pytest.raises(ModelError, match="there is no such folder"):
        encoder.add_adapter("bad", tmp_path / "bad")
    assert encoder.adapters == []
    encoder.add_adapter("bad", good)

    whole = Path(shutil.copytree(good, tmp_path / "tampered"))
    assert run("verify", whole).returncode == 0
    cut("adapter.safetensors")(whole)
    done = run("verify", whole)
    assert done.returncode == 2
    assert "adapter.safetensors" in done.stderr


@pytest.mark.adapters
def test_an_adapter_in_the_store_stands_on_its_base(tiny: Path, built: dict[str, Outcome], texts: list[str]) -> None:
    """The artifact loads as one encoder; the release, whose base is elsewhere, says how to load it."""
    found = Encoder.load(artifact(built["clinical"], "adapter"), device="cpu").encode(texts)
    close(found, serving(tiny, built, "clinical").encode(texts, adapter="clinical"))
    with pytest.raises(ModelError, match=f"is an adapter, and its base \\('{tiny.name}'\\) is not beside it Load the base"):
        Encoder.load(release(built["clinical"]))


@pytest.mark.adapters
def test_a_merged_release_is_a_plain_model(tiny: Path, built: dict[str, Outcome], texts: list[str]) -> None:
    """sentence-transformers loads it, and nothing of an adapter is left; the training was the LoRA's own."""
    from sentence_transformers import SentenceTransformer

    assert built["merged"].ran == ["release"]
    folder = release(built["merged"])
    assert not list(folder.glob("adapter*"))
    assert not [name for name in _tensors(folder / "model.safetensors") if "lora" in name or "base_layer" in name]
    ours = serving(tiny, built, "lora").encode(texts, adapter="lora")
    close(SentenceTransformer(str(folder), device="cpu").encode(texts), ours)
    close(Encoder.load(folder, device="cpu").encode(texts), ours)


# builds ----------------------------------------------------------------------------------------------------------------


def arguments(asked: Request, out: Path) -> list[str]:
    """The command line of a request."""
    sets = [f"--set={path}={json.dumps(value)}" for path, value in asked.overrides.items()]
    places = [
        "--domain",
        str(asked.domain),
        "--recipe",
        *asked.recipes,
        "--base",
        str(asked.base),
        "--resource",
        *(f"{name}={path}" for name, (path,) in asked.resources.items()),
    ]
    return ["build", "--lang", "en", *places, *sets, "--out", str(out), "--device", "cpu"]


@pytest.mark.adapters
def test_a_second_build_does_nothing(run: Run, lab: Path, tiny: Path, built: dict[str, Outcome]) -> None:
    """The command finds what the library built, and leaves the release as it is."""
    files = {path: path.stat().st_mtime_ns for path in release(built["clinical"]).iterdir()}
    done = run(*arguments(request(lab, tiny, "clinical", *SHORT), lab / "runs" / "clinical"), env={"LANGADAPT_STORE": str(lab / "store")})
    assert done.returncode == 0, done.stderr
    assert "Nothing to do: all 5 stages" in done.stdout
    assert files == {path: path.stat().st_mtime_ns for path in release(built["clinical"]).iterdir()}


@pytest.mark.adapters
def test_the_base_is_loaded_once_for_all(built: dict[str, Outcome]) -> None:
    assert built["clinical"].ran == ["base", "pairs", "adapter", "scores", "release"]
    assert built["telecom"].ran == ["pairs", "adapter", "scores", "release"]
    assert built["lora"].ran == ["adapter", "scores", "release"]


@pytest.mark.adapters
@pytest.mark.slow
def test_killed_in_training_it_ends_with_the_same_adapter(lab: Path, tiny: Path, built: dict[str, Outcome], tmp_path: Path) -> None:
    """SIGKILL after a step; the same build goes on from the checkpoint to the same bytes."""
    asked, store = request(lab, tiny, "telecom", *SHORT), tmp_path / "store"
    quick = {"LANGADAPT_STORE": str(store), "LANGADAPT_CHECKPOINT_SECONDS": "0", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "langadapt", *arguments(asked, tmp_path / "run")]
    process = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **quick}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(store.glob("partial/*/checkpoints/step-00000000[3-9]")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    key = built["telecom"].plan.stage("adapter").key
    assert not (store / "objects" / key).exists()
    assert list(store.glob(f"partial/{key}/checkpoints/step-*"))
    again = build(asked, store=store, out=tmp_path / "run", quiet=True, device="cpu")
    assert again.ran == ["adapter", "scores", "release"]
    whole = artifact(built["telecom"], "adapter")
    assert read_json(store / "objects" / key / "artifact.json")["digest"] == read_json(whole / "artifact.json")["digest"]
    assert (store / "objects" / key / "adapter.safetensors").read_bytes() == (whole / "adapter.safetensors").read_bytes()
    assert not list((store / "partial").iterdir())


# two roles -------------------------------------------------------------------------------------------------------------


def test_a_module_for_queries_and_one_for_documents(make: Build, tiny: Path, texts: list[str]) -> None:
    """Each is an adapter of peft's; in the store they make one encoder that reads either as what it is."""
    import peft
    from transformers import AutoModel

    fast = ("stages.base.max_length=64", "stages.modules.learning_rate=5e-3", "stages.modules.epochs=0.5")
    outcome = make("clinical", *fast, name="roles", recipe="semi-siamese")
    folder, encoder, some = release(outcome), Encoder.load(tiny, device="cpu"), texts[::3]
    record = read_json(folder / "adapter.json")
    assert record["roles"] == ["query", "document"]
    parts = [_tensors(folder / role / "adapter_model.safetensors") for role in record["roles"]]
    shared = sum(value.numel() for name, value in parts[0].items() if ".query." in name)  # common to both, and saved with either
    assert record["trained"] == sum(value.numel() for part in parts for value in part.values()) - shared
    assert list(read_json(folder / "scores.json")) == ["base", "modules"]
    with pytest.raises(ModelError, match="holds a module for each of query, document .*Name one: "):
        encoder.add_adapter("both", folder)
    together = Encoder.load(artifact(outcome, "modules"), device="cpu")
    assert (together.role("query"), together.role("document")) == ("query", "document")
    for role in record["roles"]:
        encoder.add_adapter(role, folder / role)
        theirs = peft.PeftModel.from_pretrained(AutoModel.from_pretrained(tiny, add_pooling_layer=False), folder / role).eval()
        close(encoder.encode(some, adapter=role), pooled(theirs, tiny, some))
        close(encoder.encode(some, adapter=role), together.encode(some, adapter=role))
    apart = np.abs(encoder.encode(some, adapter="query") - encoder.encode(some, adapter="document")).max(1)
    assert apart.min() > 1e-3


@pytest.mark.slow
@pytest.mark.adapters
def test_prefixes_by_role_run_in_their_library(make: Build, tiny: Path, texts: list[str], registry: Registry) -> None:
    """Scored as the library reads either role; a hybrid goes on from the trained LoRA, which is in it as it was."""
    import adapters
    from transformers import AutoModel

    fast = ("stages.base.max_length=64", "stages.modules.learning_rate=5e-3", "stages.modules.epochs=0.5")
    prefix = "{use: semi-siamese-prefix, length: 4, bottleneck_size: 16}"
    outcome = make("clinical", *fast, f"stages.modules.adaptation={prefix}", name="prefixes", recipe="semi-siamese")
    folder, some = release(outcome), texts[::3]
    assert list(read_json(folder / "scores.json")) == ["base", "modules"]
    scored = Job(outcome.plan.stage("scores"), {}, folder, Context(), registry).inference(artifact(outcome, "modules"))
    vectors = {}
    for role in ("query", "document"):
        theirs = AutoModel.from_pretrained(tiny, add_pooling_layer=False)
        adapters.init(theirs)
        theirs.load_adapter(str(folder / role), use_safetensors=True, set_active=True)
        vectors[role] = scored.encode(some, adapter=scored.role(role))
        close(vectors[role], pooled(theirs.eval(), tiny, some))
    assert np.abs(vectors["query"] - vectors["document"]).max(1).min() > 1e-3
    with pytest.raises(ModelError, match="no adapter 'both'.*query, document"):
        scored.encode(some, adapter="both")
    with pytest.raises(ModelError, match="Name one for all texts"):
        scored.encode(some[:2], adapter=["query", "document"])
    for look in (lambda: scored.token_states([[1, 2]]), lambda: scored.at_layer(0), scored.every_layer, scored.trainable_copy):
        with pytest.raises(ModelError, match="has no base to look into"):
            look()

    lora = artifact(make("clinical", *fast, name="roles", recipe="semi-siamese"), "modules")
    hybrid = f"{{use: semi-siamese-hybrid, first: semi-siamese, over: {lora}, then: {{use: semi-siamese-prefix, shared: all, length: 4}}}}"
    outcome = make("clinical", *fast, f"stages.modules.adaptation={hybrid}", name="hybrid", recipe="semi-siamese")
    kept, after = (path / "query" / "adapter_model.safetensors" for path in (lora, artifact(outcome, "modules") / "first"))
    assert {name: tensor.tolist() for name, tensor in _tensors(kept).items()} == {n: t.tolist() for n, t in _tensors(after).items()}
    scored = Job(outcome.plan.stage("scores"), {}, folder, Context(), registry).inference(artifact(outcome, "modules"))
    before, now = Encoder.load(lora, device="cpu"), {role: scored.encode(some, adapter=role) for role in scored.roles}
    assert all(np.abs(now[role] - before.encode(some, adapter=role)).max() > 1e-3 for role in now)
    assert np.abs(now["query"] - now["document"]).max(1).min() > 1e-3
    folder = release(outcome)
    assert list(read_json(folder / "scores.json")) == ["base", "modules"]
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert not any(
        str(lora.parent) in (folder / name).read_text(encoding="utf-8") for name in ("README.md", "adapter.json", "provenance.json")
    )
    code = card.partition("```python\n")[2].partition("```")[0]  # what the card says loads it
    named: dict[str, Any] = {}
    exec(code.replace("PATH_OR_HUB_ID_OF_THE_BASE", str(tiny)).replace("PATH_OF_THIS", str(folder)), named)
    close(now["query"], pooled(named["model"].eval(), tiny, some))


# a decoder in 8 bit ----------------------------------------------------------------------------------------------------


@pytest.fixture
def bloom(tiny: Path, tmp_path: Path) -> Path:
    """A decoder of two layers with the small encoder's tokenizer."""
    from tokenizers import Tokenizer
    from transformers import BloomConfig, BloomModel

    folder = tmp_path / "bloom"
    size = Tokenizer.from_file(str(tiny / "tokenizer.json")).get_vocab_size()
    torch.manual_seed(3)
    BloomModel(BloomConfig(vocab_size=size, hidden_size=64, n_layer=2, n_head=2)).save_pretrained(folder)
    for name in (*tiny.glob("tokenizer*"), *tiny.glob("special_tokens_map.json")):  # transformers 5 writes no map
        shutil.copy(name, folder)
    return folder


@pytest.mark.adapters
def test_a_decoder_in_eight_bit(bloom: Path, pairs: dict[str, Path], tmp_path: Path) -> None:
    """Two training stages on one adapter; it is served on the 8-bit base, and merged into the plain one."""
    resources = (f"nli={pairs['nli']}", f"sts={pairs['sts']}", f"sts-test={pairs['sts']}")
    sets = tuple(f"stages.siamese-{name}.{option}" for name in ("nli", "sts") for option in ("batch_size=4", "epochs=4"))
    asked = Request(("siamese-qlora",), "mr", None, overrides(sets), base=str(bloom), resources=resource_paths(resources))
    outcome = build(asked, store=tmp_path / "store", out=tmp_path / "runs" / "light", quiet=True, device="cpu")
    first, second = (read_json(artifact(outcome, f"siamese-{name}") / "adapter.json") for name in ("nli", "sts"))
    assert first["base"] == second["base"], "the second stage trained the first one's adapter on"
    assert (second["quantization"], second["trained"]) == ("8bit", first["trained"])
    weights = [_tensors(artifact(outcome, f"siamese-{name}") / "adapter_model.safetensors") for name in ("nli", "sts")]
    assert weights[0].keys() == weights[1].keys()
    assert all(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    texts = ["गव्हाची किंमत वाढली.", "मुले बाहेर आहेत.", "एक माणूस गिटार वाजवत आहे आणि गात आहे."]
    trained = Encoder.load(artifact(outcome, "siamese-sts"), device="cpu")
    served = Encoder.load(bloom, device="cpu", quantization="8bit", pooler="weighted-mean")
    served.add_adapter("mr", release(outcome))
    close(served.encode(texts, adapter="mr"), trained.encode(texts))
    assert np.abs(served.encode(texts) - trained.encode(texts)).max() > 1e-3

    whole = Request(
        ("siamese-qlora",),
        "mr",
        None,
        overrides((*sets, "stages.release.exporters=[transformers]")),
        base=str(bloom),
        resources=resource_paths(resources),
    )
    merged = build(whole, store=tmp_path / "store", out=tmp_path / "runs" / "merged", quiet=True, device="cpu")
    assert merged.ran == ["release"]
    plain = Encoder.load(bloom, device="cpu", pooler="weighted-mean")
    plain.add_adapter("mr", release(outcome))
    close(Encoder.load(release(merged), device="cpu").encode(texts), plain.encode(texts, adapter="mr"))
