"""Single steps of the loop: gradients, masks that freeze, failures, and a stop anywhere."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset

from langadapt.artifacts import encoder as encoders
from langadapt.contracts.component import Context, SilentLog
from langadapt.contracts.data import Role
from langadapt.errors import StageFailed
from langadapt.modeling.heads import output_layer
from langadapt.modeling.pooling import Mean
from langadapt.registry.registry import Registry
from langadapt.training.loop import Settings, Step, Validation, _Run, train
from langadapt.training.tokenized import TokenizedRows
from langadapt.verbs.train.fitting import set_dropout

TEXTS = [
    "एक माणूस गिटार वाजवत आहे.",
    "मुले मैदानात खेळत आहेत आणि त्यांचे आईवडील झाडाखाली बसून गप्पा मारत आहेत.",
    "ती बाजारात भाजी विकते.",
    "आज पुण्यात खूप पाऊस पडला.",
    "शिक्षक वर्गात शिकवत आहेत.",
    "तो धावतो.",
    "कुत्रा झाडाखाली झोपला आहे, मांजर मात्र भिंतीवर बसून सगळ्यांकडे बघत आहे.",
    "गव्हाची किंमत वाढली.",
]
SETTINGS = Settings(
    steps=6,
    batch_size=4,
    learning_rate=1e-3,
    weight_decay=0.01,
    warmup=1,
    clip=1.0,
    precision="fp32",
    tokens_per_batch=4096,
    evaluate_every=2,
    keep="last",
    mega_batch=1,
)


pytestmark = pytest.mark.usefixtures("one_thread")


class Job:
    """One run over real weights, started as often as asked."""

    def __init__(self, tiny: Path, registry: Registry, objective: str, dropout: float | None = None) -> None:
        self.registry = registry
        self.objective: Any = registry.build("objective", objective)
        torch.manual_seed(0)
        self.loaded = encoders.load(tiny, mlm_head=bool(self.objective.needs_mlm_head))
        if dropout is not None:
            set_dropout(self.loaded.model, dropout)
        rows = self.objective.prepare(Dataset.from_list(ROWS[objective]))
        self.data = TokenizedRows.of(rows, self.loaded.tokenizer, 64, self.objective.roles(), self.objective.long_texts)
        self.encoder = self.loaded.module(Mean())
        self.head = self.objective.build(replace(self.encoder.spec, output_width=self.encoder.width))

    def adapt(self, slot: Any) -> Job:
        self.registry.build("adaptation", slot).attach(self.loaded.model)  # type: ignore[attr-defined]
        return self

    def parts(self, settings: Settings, ctx: Context, validate: Any = None) -> tuple[Any, ...]:
        schedule = self.registry.build("schedule", "linear")
        return (
            self.encoder,
            self.head,
            self.objective,
            self.data,
            self.loaded.tokenizer,
            schedule,
            self.registry.build("optimizer", "adamw"),
            settings,
            validate,
            ctx,
        )

    def train(self, settings: Settings, work: Path, validate: Any = None, log: Any = None) -> Any:
        return train(*self.parts(settings, Context(workdir=work, log=log or SilentLog()), validate))

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().clone() for name, value in self.loaded.model.named_parameters()}


LABELS = ["entailment", "neutral", "contradiction"]
ROWS: dict[str, list[dict[str, Any]]] = {
    "mlm": [{"text": text} for text in TEXTS],
    "cosine-sts": [{"sentence1": a, "sentence2": b, "score": i / 8} for i, (a, b) in enumerate(zip(TEXTS, TEXTS[::-1], strict=True))],
    "nli-softmax": [
        {"premise": a, "hypothesis": b, "label": LABELS[i % 3]} for i, (a, b) in enumerate(zip(TEXTS, TEXTS[::-1], strict=True))
    ],
}


def rows_of(data: TokenizedRows) -> list[dict[str, Any]]:
    return data.take(range(len(data)))


def started(job: Job, settings: Settings, ctx: Context) -> Any:
    """A run that has not taken a step."""
    encoder, head, objective, *rest = job.parts(settings, ctx)
    return _Run(Step(encoder, head, objective, None), objective, *rest, False, None)


def gradient(job: Job, settings: Settings, work: Path) -> tuple[float, dict[str, torch.Tensor], int]:
    """(loss, gradients, forward calls) of the first step."""
    run: Any = started(job, settings, Context(workdir=work))
    calls = []
    run.module.register_forward_hook(lambda *_: calls.append(1))
    found: dict[str, torch.Tensor] = {}

    class Capture:
        def step(self) -> None:
            found.update({n: p.grad.clone() for n, p in run.module.named_parameters() if p.grad is not None})

        def zero_grad(self, **_: Any) -> None:
            return None

    run.prepared = Capture()
    run.module.train()
    return run._step(0), found, len(calls)


@pytest.mark.parametrize("objective", ["cosine-sts", "nli-softmax"])
def test_micro_batches_add_up_to_the_same_gradient(tiny: Path, registry: Registry, tmp_path: Path, objective: str) -> None:
    settings = replace(SETTINGS, batch_size=8, clip=1e9)
    torch.manual_seed(0)
    job = Job(tiny, registry, objective, dropout=0.0)
    whole, expected, one = gradient(job, settings, tmp_path)
    again, found, many = gradient(job_like(job, tiny), replace(settings, tokens_per_batch=24), tmp_path)
    assert one == 1
    assert many > 2
    assert again == pytest.approx(whole, rel=1e-5)
    assert found.keys() == expected.keys()
    assert len(found) > 20
    for name, value in found.items():
        assert torch.allclose(value, expected[name], atol=1e-5), name


def job_like(job: Job, tiny: Path) -> Job:
    """The same run from the start, with the same head."""
    again = Job(tiny, job.registry, job.objective.name, dropout=0.0)
    if job.head is not None:
        again.head.load_state_dict(job.head.state_dict())
    return again


def test_the_gradient_is_that_of_the_mean_loss(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    job = Job(tiny, registry, "cosine-sts", dropout=0.0)
    loss, found, _ = gradient(job, replace(SETTINGS, batch_size=8, clip=1e9), tmp_path)
    job = Job(tiny, registry, "cosine-sts", dropout=0.0)
    u, v = (job.encoder.embed([row[name] for row in job.data.take(range(len(job.data)))]) for name in ("sentence1", "sentence2"))
    scores = torch.tensor([row["score"] for row in job.data.take(range(len(job.data)))])
    mean = ((torch.cosine_similarity(u, v) - scores) ** 2).mean()
    mean.backward()
    assert loss == pytest.approx(mean.item(), rel=1e-5)
    expected = {f"encoder.{name}": p.grad for name, p in job.encoder.named_parameters() if p.grad is not None}
    for name, value in found.items():
        assert torch.allclose(value, expected[name], atol=1e-6), name


def test_clipping_bounds_the_gradient(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    _, found, _ = gradient(Job(tiny, registry, "mlm"), replace(SETTINGS, clip=0.01), tmp_path)
    assert torch.cat([g.flatten() for g in found.values()]).norm().item() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("slot", "moves"),
    [
        ({"use": "freeze", "train": "embeddings"}, ("bert.embeddings.word_embeddings.", "cls.")),  # the base has no head: it trains
        (
            {"use": "freeze", "train": "body"},
            ("bert.embeddings.position", "bert.embeddings.token_type", "bert.embeddings.LayerNorm", "bert.encoder.", "cls."),
        ),
        ({"use": "freeze", "train": "top", "layers": 1}, ("bert.encoder.layer.1.", "cls.")),
    ],
    ids=["embeddings", "body", "top"],
)
def test_what_is_frozen_stays_bit_for_bit_under_a_masked_lm_head(
    tiny: Path, registry: Registry, tmp_path: Path, slot: Any, moves: tuple[str, ...]
) -> None:
    job = Job(tiny, registry, "mlm").adapt(slot)
    before = job.weights()
    job.train(replace(SETTINGS, steps=2), tmp_path)
    moved = {name for name, value in job.weights().items() if not torch.equal(value, before[name])}
    assert moved
    assert all(name.startswith(moves) for name in moved), moved
    assert all(any(name.startswith(start) for name in moved) for start in moves)
    decoder, _ = output_layer(job.loaded.model)
    assert decoder is not None
    assert decoder.weight is job.loaded.model.get_input_embeddings().weight


def test_nothing_to_train_is_said(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    job = Job(tiny, registry, "cosine-sts")
    job.loaded.model.requires_grad_(False)
    with pytest.raises(StageFailed, match="no weight is trainable"):
        job.train(SETTINGS, tmp_path)


def test_not_a_number_stops_and_names_the_step(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    job = Job(tiny, registry, "cosine-sts")

    def poison(encoder: Any) -> Validation:
        with torch.no_grad():
            encoder.model.encoder.layer[0].output.dense.weight[0, 0] = float("nan")
        return Validation("made up", 0.0, True)

    with pytest.raises(StageFailed, match="loss is nan at step 5 of 6"):
        job.train(replace(SETTINGS, evaluate_every=4), tmp_path, poison)
    job = Job(tiny, registry, "cosine-sts")
    with torch.no_grad():
        job.loaded.model.embeddings.LayerNorm.weight.fill_(float("inf"))
    with pytest.raises(StageFailed, match="at step 1 of 6"):
        job.train(SETTINGS, tmp_path)


class StopAt(SilentLog):
    """A log that stops the run when a step's figures arrive, as a signal would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def metrics(self, step: int, values: dict[str, float]) -> None:
        if step >= self.step and "made up" in values:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("objective", "adaptation"), [("mlm", "full"), ("nli-softmax", {"use": "freeze", "train": "top", "layers": 1})])
def test_a_stop_with_dropout_and_a_head_resumes_bit_for_bit(
    tiny: Path, registry: Registry, tmp_path: Path, objective: str, adaptation: Any
) -> None:
    """The best weights came before the stop: the resumed run must still know them."""
    settings = replace(SETTINGS, keep="best", checkpoint_steps=1, evaluate_every=1)
    values = [0.1, 0.9, 0.3, 0.2, 0.5, 0.4]

    def run(work: Path, log: Any = None, start: int = 0) -> tuple[dict[str, torch.Tensor], Any]:
        left = iter(values[start:])
        job = Job(tiny, registry, objective, dropout=0.2).adapt(adaptation)
        history = job.train(settings, work, lambda _: Validation("made up", next(left), True), log)
        return job.weights(), history

    whole, expected = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", StopAt(3))
    resumed, found = run(tmp_path / "parts", start=3)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert found == expected
    assert found.best_step == 2


class Hear(SilentLog):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, message: str) -> None:
        self.warnings.append(message)


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def restate(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


DAMAGE: dict[str, tuple[str, Any]] = {
    "a byte of the weights": ("weights.safetensors", flip_a_byte),
    "a byte of the moments": ("moments.safetensors", flip_a_byte),
    "truncated weights": ("weights.safetensors", lambda path: path.write_bytes(path.read_bytes()[:1000])),
    "another step": ("state.json", lambda path: restate(path, step=1)),
    "a step beyond the end": ("state.json", lambda path: restate(path, step=100)),
    "no object": ("state.json", lambda path: path.write_text("[]")),
    "no JSON": ("state.json", lambda path: path.write_text('{"step": ')),
}


EVERY_STEP = replace(SETTINGS, checkpoint_steps=1, evaluate_every=1)


def nothing_to_choose(_: Any) -> Validation:
    return Validation("made up", 0.0, True)


@pytest.fixture(scope="module")
def stopped(tiny: Path, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    """The folder of a run that was stopped at its third step, and the weights of one that was not."""
    folder = tmp_path_factory.mktemp("stopped")
    whole = Job(tiny, registry, "cosine-sts")
    whole.train(EVERY_STEP, folder / "whole", nothing_to_choose)
    with pytest.raises(KeyboardInterrupt):
        Job(tiny, registry, "cosine-sts").train(EVERY_STEP, folder / "parts", nothing_to_choose, StopAt(3))
    return folder / "parts", whole.weights()


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_is_set_aside_and_training_starts_anew(
    tiny: Path, registry: Registry, stopped: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path, kind: str
) -> None:
    folder = shutil.copytree(stopped[0], tmp_path / "parts")
    name, harm = DAMAGE[kind]
    (file,) = folder.glob(f"checkpoints/step-*/{name}")
    harm(file)
    heard, again = Hear(), Job(tiny, registry, "cosine-sts")
    again.train(EVERY_STEP, folder, nothing_to_choose, heard)
    assert [warning for warning in heard.warnings if "damaged" in warning and "starts anew" in warning]
    assert list(folder.glob("checkpoints.damaged-0/step-*"))
    assert all(torch.equal(value, again.weights()[name]) for name, value in stopped[1].items())


def test_best_weights_that_were_altered_are_not_restored(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    settings = replace(SETTINGS, checkpoint_steps=1, evaluate_every=1, keep="best")
    values = iter([3.0, 2.0, 1.0, 0.0, 3.0, *[0.0] * 20])
    validate = lambda _: Validation("made up", next(values), True)  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        Job(tiny, registry, "cosine-sts").train(settings, tmp_path, validate, StopAt(3))
    flip_a_byte(next(tmp_path.glob("checkpoints/best-*.safetensors")))
    heard = Hear()
    Job(tiny, registry, "cosine-sts").train(settings, tmp_path, validate, heard)
    assert [warning for warning in heard.warnings if ".safetensors was altered" in warning]


def test_long_texts_are_split_without_loss(tiny: Path, registry: Registry) -> None:
    tokenizer = encoders.load(tiny, mlm_head=False).tokenizer
    text = " ".join(TEXTS * 3)
    data = TokenizedRows.of(Dataset.from_dict({"text": [text, "", TEXTS[0]]}), tokenizer, 32, {"text": Role.TEXT}, "split")
    pieces = [row["text"] for row in data.take(range(len(data)))]
    assert all(len(ids) <= 32 and ids[0] == tokenizer.cls_token_id and ids[-1] == tokenizer.sep_token_id for ids in pieces)
    assert [i for ids in pieces[:-1] for i in ids[1:-1]] == tokenizer(text, add_special_tokens=False)["input_ids"]
    assert pieces[-1] == tokenizer(TEXTS[0])["input_ids"]
    sizes = [len(ids) for ids in pieces[:-1]]
    assert max(sizes) - min(sizes) <= len(sizes)  # no stub at the end
    cut = TokenizedRows.of(Dataset.from_dict({"text": [text, TEXTS[0]]}), tokenizer, 16, {"text": Role.TEXT}, "truncate")
    assert cut.truncated == 1
    assert cut[0]["text"] == tokenizer(text, truncation=True, max_length=16)["input_ids"]
    held = data.split(0.25, np.random.default_rng(0))
    assert sorted(map(repr, rows_of(held[0]) + rows_of(held[1]))) == sorted(map(repr, rows_of(data)))
